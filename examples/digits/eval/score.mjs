// Is a generated caption right about the digit? In: text and the true digit. Out: yes or no.
// A caption is right when it names the digit, as a word or a numeral, and names no other one. Adjectives are not judged.

export const WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/**
 * The digits that a text names, each once, in order: "a thin seven" gives [7], "digit 7" too, "70" none (not a digit).
 * @param {string} text
 * @returns {number[]}
 */
export function digitsNamed(text) {
  const found = new Set();
  for (const word of text.toLowerCase().split(/[^a-z0-9]+/)) {
    if (/^[0-9]$/.test(word)) found.add(Number(word));
    else if (WORDS.includes(word)) found.add(WORDS.indexOf(word));
  }
  return [...found];
}

/**
 * @param {string} text
 * @param {number} label
 */
export function scoreCaption(text, label) {
  const named = digitsNamed(text);
  return named.length === 1 && named[0] === label;
}

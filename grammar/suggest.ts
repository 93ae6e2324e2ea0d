// In: a word nobody knows and the words that would fit. Out: the nearest one, or nothing.
// The caller passes candidates of one kind only (streams where a stream is expected). A wrong hint is worse than none,
// so the distance is bounded by a third of the word, a short word must share its first letter, and a tie gives nothing.

import { distance } from "fastest-levenshtein";

export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  const limit = Math.max(1, Math.floor(word.length / 3));
  let best: string | undefined;
  let bestDistance = limit + 1;
  let tied = false;
  for (const candidate of new Set(candidates)) {
    if (candidate === word || candidate === "") continue;
    const far = cost(word, candidate);
    if (far > limit || far > bestDistance) continue;
    if (word.length <= 3 && candidate[0]?.toLowerCase() !== word[0]?.toLowerCase()) continue;
    tied = far === bestDistance;
    best = candidate;
    bestDistance = far;
  }
  return tied ? undefined : best;
}

/** `did you mean …`, ready to be a help line; undefined where nothing is near. */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const near = suggest(word, candidates);
  return near === undefined ? undefined : `did you mean \`${near}\`?`;
}

/** Edits, where a swap of two neighbours and a difference in case or underscores count as one. */
function cost(a: string, b: string): number {
  const plain = (word: string): string => word.toLowerCase().replaceAll("_", "");
  if (plain(a) === plain(b)) return 1;
  const edits = distance(a, b);
  return edits === 2 && isSwap(a, b) ? 1 : edits;
}

function isSwap(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  const at = [...a].findIndex((c, i) => c !== b[i]);
  return at >= 0 && a[at] === b[at + 1] && a[at + 1] === b[at] && a.slice(at + 2) === b.slice(at + 2);
}

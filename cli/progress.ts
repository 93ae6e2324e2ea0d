// Progress of long work: a bar with rate and time left on a terminal, a line now and then elsewhere. Words go to stderr.

import { Presets, SingleBar } from "cli-progress";

export interface Progress {
  update(done: number, total: number, note?: string): void;
  /** A line above the bar. */
  say(line: string): void;
  stop(): void;
}

/** `every` is the least number of seconds between lines where there is no terminal. */
export function startProgress(title: string, every = 10): Progress {
  return process.stderr.isTTY ? bar(title) : log(title, every);
}

function bar(title: string): Progress {
  const b = new SingleBar(
    { format: `${title} {bar} {percentage}% {value}/{total} {rate} eta {eta_formatted} {note}`, stream: process.stderr, hideCursor: true, clearOnComplete: false, etaBuffer: 40 },
    Presets.shades_classic,
  );
  let started = 0;
  let first = 0;
  const rate = (done: number): string => {
    const seconds = (Date.now() - started) / 1000;
    return done > first && seconds > 0.5 ? `${((done - first) / seconds).toFixed(2)}/s` : "";
  };
  return {
    update(done, total, note = "") {
      if (started === 0) {
        started = Date.now();
        first = done;
        b.start(total, done, { note, rate: "" });
      } else {
        b.setTotal(total);
        b.update(done, { note, rate: rate(done) });
      }
    },
    say(line) {
      process.stderr.write(`\r\u001b[K${line}\n`);
    },
    stop() {
      if (started !== 0) b.stop();
    },
  };
}

function log(title: string, every: number): Progress {
  let last = 0;
  let started = 0;
  let first = 0;
  return {
    update(done, total, note = "") {
      const now = Date.now();
      if (started === 0) {
        started = now;
        first = done;
      }
      if (done < total && now - last < every * 1000 && last !== 0) return;
      last = now;
      const rate = done > first ? (done - first) / ((now - started) / 1000) : 0;
      const eta = rate > 0 ? `, ${rate.toFixed(2)}/s, eta ${Math.round((total - done) / rate)} s` : "";
      process.stderr.write(`${title} ${done}/${total}${eta}${note === "" ? "" : `  ${note}`}\n`);
    },
    say(line) {
      process.stderr.write(`${line}\n`);
    },
    stop() {},
  };
}

// Exit codes, documented in docs/cli.md.

/** 0 done; 1 it failed (a diagnostic or a run-time error says why); 2 it was asked for wrongly; 70 a bug of Heddle; 130 interrupted. */
export const EXIT = { ok: 0, failed: 1, usage: 2, bug: 70, interrupted: 130 } as const;

/** Ends a command early with a code, after everything was said. */
export class Exit extends Error {
  readonly code: number;
  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

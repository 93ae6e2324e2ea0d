// The one exception the runtime throws for what a user or a machine can cause: a stable code with a page in docs/errors,
// a message that stands alone, the place (spec line, file and line, adapter) and what to do. Bugs stay plain Errors.
// Imports nothing, so that a page can ship it.

/** Process exit codes a HeddleError may ask for: 1 = it failed, 2 = it was asked for wrongly. */
export type HeddleExit = 1 | 2;

export interface HeddleErrorInit {
  /** E05xx; each has a page in docs/errors. */
  readonly code: string;
  /** Lower case, no full stop, stands alone. */
  readonly message: string;
  /** What the user can do, in a sentence. */
  readonly help?: string;
  /** Where: `bagel.heddle:31`, `captions.jsonl:12`, `weights.safetensors`. */
  readonly place?: string;
  readonly exit?: HeddleExit;
  readonly cause?: unknown;
}

/**
 * @example throw new HeddleError({ code: "E0530", message: "no captions in `data/`", place: "data/", help: "add `captions.jsonl`" })
 */
export class HeddleError extends Error {
  readonly code: string;
  readonly help: string | undefined;
  readonly place: string | undefined;
  readonly exit: HeddleExit;

  constructor(init: HeddleErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.name = "HeddleError";
    this.code = init.code;
    this.help = init.help;
    this.place = init.place;
    this.exit = init.exit ?? 1;
  }
}

/** Plain text as the terminal shows it: `error[E0530]: … --> place = help: …`. */
export function renderHeddleError(error: HeddleError): string {
  const lines = [`error[${error.code}]: ${error.message}`];
  if (error.place !== undefined) lines.push(`  --> ${error.place}`);
  if (error.help !== undefined) lines.push(`  = help: ${error.help}`);
  return lines.join("\n");
}

/** The message of anything thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

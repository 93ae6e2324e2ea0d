// heddle explain mask: who sees whom on a sample of every task, in the terminal, as SVG, as PNG or as JSON.
// In: a checked model and options from the command line. Out: text on stdout, files written whole or not at all.
// Refuses tasks, layers, heads and fields that the model lacks, samples too long to draw, and a --mask that does not check.

import { maskDiagnostics } from "../../compiler/mask/diagnostics.ts";
import type { SampleOptions } from "../../compiler/mask/example.ts";
import { exampleLength } from "../../compiler/mask/example.ts";
import type { MaskReport } from "../../compiler/mask/explain.ts";
import { maskReport } from "../../compiler/mask/explain.ts";
import { reportSvg } from "../../compiler/mask/svg.ts";
import { reportText } from "../../compiler/mask/text.ts";
import { withMask } from "../../compiler/mask/with_mask.ts";
import { askedMask } from "../../compiler/types/asked_mask.ts";
import type { Model } from "../../compiler/types/model.ts";
import type { Source } from "../../grammar/source.ts";
import { makeSource } from "../../grammar/source.ts";
import { didYouMean } from "../../grammar/suggest.ts";
import { HeddleError } from "../../runtime/error.ts";
import { EXIT, Exit } from "../exit_code.ts";
import { requireFolder, write } from "../out_file.ts";
import { reportPng } from "../show/mask_png.ts";
import { takesColour } from "../show/preview.ts";
import type { Checked } from "../spec.ts";
import { hasErrors, report } from "../spec.ts";

export interface MaskOptions {
  task?: string;
  layer?: string;
  head?: string;
  length: string[];
  documents?: string;
  padding?: string;
  tile?: string;
  mask?: string;
  svg?: string;
  png?: string;
  json?: boolean;
}

/** Longer samples are more than a picture can show, and their pairs more than a moment's work. */
const MOST = 2048;
const TEXT = 6;
const PATCHES = 16;

export async function explainMask(model: Model, checked: Checked, options: MaskOptions): Promise<void> {
  const files = [options.svg, options.png].filter((f) => f !== undefined);
  if (files.filter((f) => f === "-").length + (options.json ? 1 : 0) > 1) throw wrong("E0582", "stdout takes one of --json, --svg - and --png -");
  files.forEach(requireFolder);
  const filters = { ...choice(model, options), ...sampleOf(model, options) };
  const { drawn, failed } = asDrawn(model, checked, options.mask);
  const made = maskReport(drawn, filters);
  if (options.json) process.stdout.write(`${JSON.stringify(made, null, 2)}\n`);
  if (options.svg !== undefined) await write(options.svg, reportSvg(made));
  if (options.png !== undefined) await write(options.png, reportPng(made));
  if (!options.json && files.length === 0) process.stdout.write(textOf(made));
  if (failed) throw new Exit(EXIT.failed);
}

const textOf = (made: MaskReport): string => reportText(made, { columns: process.stdout.columns ?? (Number(process.env.COLUMNS) || 100), colour: takesColour(process.stdout, process.env) });

const wrong = (code: string, message: string, help?: string): HeddleError => new HeddleError({ code, message, ...(help === undefined ? {} : { help }), exit: 2 });

function whole(option: string, text: string, from: number): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(n) || n < from) throw wrong("E0582", `\`${text}\` for --${option} is not a whole number from ${from}`);
  return n;
}

/** Which task, layer and head; each must be there. */
function choice(model: Model, options: MaskOptions): { task?: string; layer?: number; head?: number; tile?: number } {
  const { task } = options;
  if (task !== undefined && !model.tasks.some((t) => t.name === task)) {
    const names = model.tasks.map((t) => t.name);
    throw wrong("E0585", `model \`${model.name}\` has no task \`${task}\``, didYouMean(task, names) ?? `its tasks are ${names.join(", ")}`);
  }
  const layer = options.layer === undefined ? undefined : whole("layer", options.layer, 0);
  const layers = model.attentions.length;
  if (layer !== undefined && layer >= layers) throw wrong("E0585", `model \`${model.name}\` has no layer ${layer}`, layers === 0 ? "none of its layers attends" : `its attentions are numbered 0 to ${layers - 1}`);
  const head = options.head === undefined ? undefined : whole("head", options.head, 0);
  const heads = Math.max(1, ...model.attentions.filter((a) => layer === undefined || a.layer === layer).map((a) => a.heads));
  if (head !== undefined && head >= heads) throw wrong("E0585", `${layer === undefined ? "no layer" : `layer ${layer}`} has ${layer === undefined ? "a" : "no"} head ${head}`, `heads are numbered 0 to ${heads - 1}`);
  const tile = options.tile === undefined ? undefined : whole("tile", options.tile, 1);
  return { ...(task === undefined ? {} : { task }), ...(layer === undefined ? {} : { layer }), ...(head === undefined ? {} : { head }), ...(tile === undefined ? {} : { tile }) };
}

/** `--length 12` for every text, `--length caption=12` for a field. */
function sampleOf(model: Model, options: MaskOptions): SampleOptions {
  let text = TEXT;
  const lengths: Record<string, number> = {};
  const fields = [...new Set(model.tasks.flatMap((t) => t.fields.map((f) => f.name)))];
  for (const given of options.length) {
    const at = given.indexOf("=");
    if (at < 0) {
      text = whole("length", given, 1);
      continue;
    }
    const field = given.slice(0, at);
    if (!fields.includes(field)) throw wrong("E0585", `no task of model \`${model.name}\` has a field \`${field}\``, didYouMean(field, fields) ?? `their fields are ${fields.join(", ")}`);
    lengths[field] = whole("length", given.slice(at + 1), 1);
  }
  const sample: SampleOptions = {
    text, lengths, patches: PATCHES,
    documents: options.documents === undefined ? 1 : whole("documents", options.documents, 1),
    padding: options.padding === undefined ? 0 : whole("padding", options.padding, 0),
  };
  for (const t of model.tasks) {
    const n = exampleLength(model, t, sample);
    if (n > MOST && (options.task === undefined || options.task === t.name)) throw wrong("E0586", `a sample of task \`${t.name}\` would have ${n} tokens, and at most ${MOST} are drawn`, "shorten it with --length, --documents or --padding");
  }
  return sample;
}

/** The model with the mask that is asked about, and what is to be said of its masks: a mask that is wrong is worth a look too. */
function asDrawn(model: Model, checked: Checked, text: string | undefined): { drawn: Model; failed: boolean } {
  if (text === undefined) return { drawn: model, failed: hasErrors(checked.diagnostics) };
  const source = makeSource("--mask", text);
  const sources = (name: string): Source | undefined => (name === source.path ? source : checked.sources(name));
  const asked = askedMask(model, source, checked.sources);
  if (asked.notOne) throw wrong("E0587", "--mask takes one expression", "such as 'causal & window(4)'; declare in the spec what needs a name of its own");
  if (!asked.mask) {
    report({ diagnostics: asked.diagnostics, sources }, false);
    throw new Exit(EXIT.failed);
  }
  const drawn = withMask(model, asked.mask);
  // The last line of the drawing says what can be cached.
  const diagnostics = [...asked.diagnostics, ...maskDiagnostics(drawn)].filter((d) => d.code !== "W0602");
  report({ diagnostics, sources }, false);
  return { drawn, failed: hasErrors(diagnostics) };
}

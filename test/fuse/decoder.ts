// The plain decoder of the benchmark as a graph, with sizes to choose: learned positions, pre-norm blocks with LayerNorm, biases
// everywhere, GELU, an untied head. `train` adds the loss and every gradient, each into its field of `grads`.

import { gradients } from "../../compiler/autodiff/backward.ts";
import { dimConst, dimVar } from "../../compiler/dim/dim.ts";
import { GraphBuilder, originAt } from "../../compiler/graph/builder.ts";
import type { Axis, Graph, NodeId } from "../../compiler/graph/graph.ts";
import { Make } from "../../compiler/graph/make.ts";
import { sumByClass } from "../../compiler/graph/sum_by_class.ts";
import { attr, binary } from "../../compiler/scalar/expr.ts";

export interface DecoderSizes {
  readonly layers: number;
  readonly d: number;
  readonly heads: number;
  readonly mlp: number;
  readonly positions: number;
  readonly vocab: number;
  readonly rope?: boolean;
}

export const plain: DecoderSizes = { layers: 2, d: 128, heads: 4, mlp: 512, positions: 128, vocab: 512 };

const ax = (name: string, size: number | string): Axis => ({ name, size: typeof size === "number" ? dimConst(size) : dimVar(size) });

export function decoder(sizes: DecoderSizes, mode: "logits" | "train"): Graph {
  const builder = new GraphBuilder(mode);
  const [b, t, d] = [ax("batch", "batch"), ax("t", "t"), ax("d", sizes.d)];
  const [h, k, f, v] = [ax("h", sizes.heads), ax("k", sizes.d / sizes.heads), ax("f", sizes.mlp), ax("v", sizes.vocab)];
  const params: { path: string; node: NodeId }[] = [];
  let m = new Make(builder, originAt("model"));
  const param = (path: string, ...axes: Axis[]): NodeId => {
    const node = m.state(`params/${path}`, { dtype: "f32", axes });
    params.push({ path, node });
    return node;
  };
  const norm = (x: NodeId, path: string): NodeId => {
    m = m.at(originAt(path));
    return m.add(m.mul(m.layerNorm(x, 1e-5, "d"), param(`${path}.gain`, d)), param(`${path}.bias`, d));
  };
  const linear = (x: NodeId, path: string, from: Axis[], to: Axis[]): NodeId => {
    m = m.at(originAt(path));
    return m.add(m.dot(x, param(`${path}.w`, ...from, ...to), ...from.map((a) => a.name)), param(`${path}.b`, ...to));
  };
  const ids = m.input("ids", { dtype: "i32", axes: [b, t] });
  const pos = m.iota(t);
  const table = param("embed", v, d);
  const places = param("positions", ax("p", sizes.positions), d);
  m = m.at(originAt("embed"));
  let x = m.add(m.gather(table, "v", ids), m.gather(places, "p", pos));
  for (let i = 0; i < sizes.layers; i++) {
    const at = `body[${i}]`;
    const y = norm(x, `${at}.norm1`);
    let q = linear(y, `${at}.attn.q`, [d], [h, k]);
    let key = linear(y, `${at}.attn.k`, [d], [h, k]);
    const value = m.rename(linear(y, `${at}.attn.v`, [d], [h, k]), "t", "s");
    if (sizes.rope) {
      const place = m.cast(pos, "f32");
      q = m.rope(q, "k", place);
      key = m.rope(key, "k", place);
    }
    m = m.at(originAt(`${at}.attn`));
    const kpos = m.iota(ax("s", "t"));
    const out = m.attend(q, m.rename(key, "t", "s"), value, {
      query: "t", key: "s", width: "k", mask: binary("le", attr("k", "pos"), attr("q", "pos")), queryAttrs: { pos }, keyAttrs: { pos: kpos },
    });
    x = m.add(x, linear(out, `${at}.attn.out`, [h, k], [d]));
    const z = norm(x, `${at}.norm2`);
    const up = linear(z, `${at}.mlp.up`, [d], [f]);
    const act = m.gelu(up);
    x = m.add(x, linear(act, `${at}.mlp.down`, [f], [d]));
  }
  const y = norm(x, "norm");
  m = m.at(originAt("head"));
  const w = param("head", d, v);
  if (mode === "logits") {
    builder.output("logits", m.dot(y, w, "d"));
    return builder.finish();
  }
  const target = m.input("target", { dtype: "i32", axes: [b, t] });
  const weight = m.input("weight", { dtype: "f32", axes: [b, t] });
  const loss = m.div(m.sum(m.linearCe(y, w, target, weight, "d", "v"), "batch", "t"), m.sum(weight, "batch", "t"));
  builder.output("loss", loss);
  const grads = gradients(builder, loss, params.map((p) => p.node));
  params.forEach((p, i) => builder.output(`grads/${p.path}`, grads[i] as NodeId, `grads/${p.path}`));
  return sumByClass(builder.finish());
}

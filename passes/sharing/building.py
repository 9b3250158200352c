"""Rounding layer after layer, each on what the layers before it now make."""
from __future__ import annotations
import numpy as np
from ocompress.analysis.weight_form import rounded
from ocompress.ir import Model, edit
from ocompress.lossy.applying import twins_of
from ocompress.lossy.refit import Built, Job, refit, set_bias, fitted_biases
from ocompress.lossy.least_squares import Fit
from dataclasses import replace
from passes.sharing.rounding import RoundingProblem, solve
from passes.sharing.rates import total_bits
from ocompress.analysis.linear_rows import bias_place

B = dict(bits=6.0, ridge=None, biasgrid=True)
LOG=[]

def build(model, weights, costed, price, ctx, factors=None):
    clone = model.clone()
    twins = twins_of(clone, model)
    by_label = {n.label: n for n in clone.graph.nodes}
    jobs = []
    total = {'bits': 0.0, 'rows': []}
    for w in weights:
        known = costed[id(w.value)]
        mask = (known.costs > price * B['bits']) & (w.array != 0)
        nodes = [by_label[n.label] for n in w.nodes]
        at = next(i for i, v in enumerate(w.nodes[0].inputs) if v is w.value)
        val = nodes[0].inputs[at]
        original = w.array
        edit.set_weight(val, np.where(mask, w.array, 0).astype(w.array.dtype))
        factor = 1.0 if factors is None else factors[w.name]
        jobs.append(Job(nodes, curvature=known.curvature, store=store(original, mask, known.curvature*factor, price, total, w.name)))
    refit(model, clone, twins, jobs, ctx)
    return clone, total


def store(original, mask, curvature, price, total, name):
    def put(sites, made, sums):
        site = sites[0]
        whole = sums.whole()
        biased = bias_place(site) is not None
        use = whole if biased else whole.about_zero()
        start = site.matrix(original.astype(np.float64))
        H = use.xx.copy()
        d = np.einsum('gii->gi', H)
        damping = B['ridge'] or (made.damping if made.damping is not None else 1.0)
        ridge = damping * np.maximum(d.mean(axis=1, keepdims=True), 1e-30)
        d += ridge
        target = np.linalg.solve(H, use.xy + ridge[:, :, None] * start)
        p = RoundingProblem(target, H, curvature, made.matrix, site.matrix(mask), price)
        r = solve(p)
        W = site.weight(r.matrix)
        value = site.node.inputs[site.layer.weight_at]
        edit.set_weight(value, W.astype(np.float32))
        M = site.matrix(W.astype(np.float32).astype(np.float64))
        bias = use.bias(M) if biased else np.zeros_like(use.y)
        made2 = replace(made, matrix=M, bias=bias)
        biases = fitted_biases(sites, made2)
        c = curvature if curvature.ndim == 2 else np.einsum('goo->go', curvature)
        bb = 0.0
        for s, b in zip(sites, biases):
            if b.size and B['biasgrid']:
                step = np.float32(np.sqrt(6/np.log(2)*price/c.mean()))
                z = np.rint(b/step)
                b = (z*step).astype(np.float32)
                bb += total_bits(z[None,:,None])
            else:
                bb += 32*b.size
            set_bias(s, b)
        over = 3.0 * (np.unique(r.t).size > 1) * r.t.size + 3.0 * (np.unique(r.g).size > 1) * r.g.size + 64
        wb = total_bits(r.levels)
        total['bits'] += wb + bb + over
        total['rows'].append((name, r.levels.shape, f"nz {np.mean(r.levels!=0):.3f} mask {mask.mean():.3f} b/w {wb/r.levels.size:.3f} max {np.abs(r.levels).max():.0f} bias {bb:.0f} over {over:.0f} damp {made.damping}", [tuple(np.round(x,3)) for x in r.trace]))
        return made2
    return put

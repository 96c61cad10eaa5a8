"""The PPO of `ppo_jaxarc.py` on environments wrapped as Stoix wraps them, and Stoix's evaluation.

Stoix is not on PyPI and is not needed: `jt.stoix_envs` gives what its factory gives, in its order
(AddRNGKey, RecordEpisodeMetrics, auto-reset, vmap), traced; `jt.stoix_evaluator` is its evaluator
as one scan. In a Stoix system the trace is read the same way, from `learner_state.env_state`.

    python examples/ppo_stoix.py --out ppo_stoix
"""

import argparse
import time
from pathlib import Path
from typing import Any

# The network, the algorithm and the pictures: the file beside this one.
import ppo_jaxarc as ppo

import equinox as eqx  # isort: skip - after the settings that `ppo_jaxarc` makes
import jax  # isort: skip
import jax.numpy as jnp  # isort: skip

import jaxarc_trace as jt  # isort: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("ppo_stoix"))
    parser.add_argument("--lanes", type=int, default=256)
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    learn_key, eval_key = jax.random.split(jax.random.key(args.seed))
    single = ppo.make_env()
    spec = jt.TraceSpec(max_steps=ppo.TURNS, keep={"first": 64}, lanes=max(args.lanes // 4, 1))
    train_env, eval_env = jt.stoix_envs(single, single, spec=spec)

    begun = time.perf_counter()
    learn = eqx.filter_jit(lambda key: ppo.train(train_env, key, args.lanes, args.updates))
    net, trace, curve = jax.block_until_ready(learn(learn_key))
    ppo.report(trace, curve, time.perf_counter() - begun, args.lanes, args.out)

    def act(net: Any, observation: Any, key: jax.Array) -> Any:
        del key
        logits, _ = jax.vmap(net)(observation)
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    evaluate = jt.stoix_evaluator(
        eval_env,
        act,
        spec=jt.TraceSpec(max_steps=ppo.TURNS, keep={"worst": 8, "random": 8}),
        num_episodes=64,
        num_steps=ppo.TURNS,
    )
    found = eqx.filter_jit(evaluate)(net, eval_key)
    jt.save(args.out / "evaluation", found.trace)
    solved = [e.success for e in jt.load(args.out / "evaluation") if e.complete]
    mean = float(found.episode_metrics["episode_return"].mean())
    print(f"greedy evaluation: a return of {mean:.2f} over the first episode of each lane")
    print(f"{sum(map(bool, solved))} of the {len(solved)} kept episodes solved")


if __name__ == "__main__":
    main()

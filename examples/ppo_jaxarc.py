"""PPO on small ARC tasks in one jitted scan, traced while it learns.

The agent sees the task's input, the grid it works on and the time, not the target, so for each
input it has to learn what to paint. To be learnable in minutes the setting is reduced, and says so:
eight ARC-1 tasks whose grids are 3 x 3 (32 demonstration pairs, all of them played in training;
nothing is held out), JaxARC built for grids of that size, 91 actions (one of ten colours in one of
nine cells, or submit), 14 turns, the last of which submits whatever is there (and the agent mostly
leaves it to that). An episode is a success when the grid is submitted with every cell right.

    python examples/ppo_jaxarc.py --out ppo

writes `curve.json`, `curve.png`, the trace of the first and last episodes, and `first_last.png`,
which shows an untrained and a trained episode of one pair side by side.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

# JaxARC's checks go through the host unless they are told not to, and cannot take typed keys.
os.environ.setdefault("EQX_ON_ERROR", "off")

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxarc.configs import DatasetConfig, GridInitializationConfig, JaxArcConfig
from jaxarc.configs.environment_config import EnvironmentConfig
from jaxarc.configs.reward_config import RewardConfig
from jaxarc.wrappers import InputGridObservationWrapper
from stoa.core_wrappers.vmap import VmapWrapper
from stoa.core_wrappers.wrapper import Wrapper
from stoa.spaces import DiscreteSpace

import jaxarc_trace as jt
from jaxarc_trace.demo.tasks import environment_of, quiet_jaxarc

TASKS = "25ff71a9 ed36ccf7 74dd1130 3c9b0459 5582e5ca 25d8a9c8 a85d4709 6e02f1e3".split()
SIDE, COLOURS, SUBMIT, TURNS = 3, 10, 34, 14
ACTIONS = COLOURS * SIDE * SIDE + 1
LANES, STEPS, EPOCHS, MINIBATCHES = 256, 32, 4, 8
GAMMA, LAMBDA, CLIP, ENTROPY, RATE = 0.99, 0.95, 0.2, 0.03, 1e-3


class Painter(Wrapper[Any]):
    """JaxARC as this agent meets it: a vector to see, one of 91 things to do."""

    def reset(self, rng_key: jax.Array, env_params: Any = None) -> tuple[Any, Any]:
        state, timestep = self._env.reset(rng_key, env_params)
        return state, timestep.replace(observation=self._seen(state, timestep))

    def step(self, state: Any, action: jax.Array, env_params: Any = None) -> tuple[Any, Any]:
        colour, cell = jnp.divmod(action, SIDE * SIDE)
        submit = (action == ACTIONS - 1) | (state.step_count >= TURNS - 1)
        point = {
            "operation": jnp.where(submit, SUBMIT, colour),
            "row": jnp.where(submit, 0, cell // SIDE),
            "col": jnp.where(submit, 0, cell % SIDE),
        }
        state, timestep = self._env.step(state, point, env_params)
        return state, timestep.replace(observation=self._seen(state, timestep))

    def action_space(self, env_params: Any = None) -> DiscreteSpace:
        del env_params
        return DiscreteSpace(ACTIONS, dtype=jnp.int32)

    def _seen(self, state: Any, timestep: Any) -> jax.Array:
        """Both grids, one-hot, and how many turns are over."""
        cells = jax.nn.one_hot(timestep.observation.astype(jnp.int32) + 1, COLOURS + 1)
        turns = state.step_count.astype(jnp.float32)[None] / TURNS
        return jnp.concatenate([cells.ravel(), turns])


def make_env() -> Any:
    """A single environment without auto-reset."""
    quiet_jaxarc()
    config = JaxArcConfig(
        environment=EnvironmentConfig(max_episode_steps=TURNS + 1),
        dataset=DatasetConfig(dataset_name="ARC-AGI-1", max_grid_height=SIDE, max_grid_width=SIDE),
        reward=RewardConfig(
            step_penalty=-0.01,
            success_bonus=1.0,
            unsolved_submission_penalty=-0.2,
            similarity_weight=1.0,
        ),
        grid_initialization=GridInitializationConfig(
            permutation_weight=0.0, empty_weight=0.0, random_weight=0.0
        ),
    )
    return Painter(InputGridObservationWrapper(environment_of(config, TASKS, action="point")))


class Network(eqx.Module):
    """What one lane sees -> logits of the actions, and the value."""

    trunk: eqx.nn.MLP
    policy: eqx.nn.Linear
    value: eqx.nn.Linear

    def __init__(self, key: jax.Array, width: int = 256) -> None:
        one, two, three = jax.random.split(key, 3)
        seen = 2 * SIDE * SIDE * (COLOURS + 1) + 1
        self.trunk = eqx.nn.MLP(seen, width, width, 1, final_activation=jax.nn.relu, key=one)
        policy = eqx.nn.Linear(width, ACTIONS, key=two)
        # Small first logits: the untrained policy is close to uniform.
        self.policy = eqx.tree_at(lambda layer: layer.weight, policy, policy.weight * 0.01)
        self.value = eqx.nn.Linear(width, "scalar", key=three)

    def __call__(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = self.trunk(observation)
        return self.policy(hidden), self.value(hidden)


class Sample(NamedTuple):
    """What PPO learns from, `[step, lane, ...]`."""

    observation: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    done: jax.Array
    solved: jax.Array


def advantages(samples: Sample, last_value: jax.Array) -> jax.Array:
    """Generalised advantage estimates, `[step, lane]`.

    An episode cut off by the limit counts as ended: the limit is part of the task.
    """

    def back(carry: tuple[jax.Array, jax.Array], sample: Sample) -> tuple[Any, jax.Array]:
        advantage, following = carry
        goes_on = 1.0 - sample.done.astype(jnp.float32)
        delta = sample.reward + GAMMA * following * goes_on - sample.value
        advantage = delta + GAMMA * LAMBDA * goes_on * advantage
        return (advantage, sample.value), advantage

    start = (jnp.zeros_like(last_value), last_value)
    return jax.lax.scan(back, start, samples, reverse=True)[1]


def loss(net: Network, samples: Sample, advantage: jax.Array, bonus: jax.Array) -> jax.Array:
    """PPO's clipped objective on one minibatch `[sample, ...]`; `bonus` weighs the entropy."""
    logits, value = jax.vmap(net)(samples.observation)
    log_probs = jax.nn.log_softmax(logits)
    log_prob = jnp.take_along_axis(log_probs, samples.action[:, None], axis=1)[:, 0]
    target = advantage + samples.value
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    ratio = jnp.exp(log_prob - samples.log_prob)
    clipped = jnp.clip(ratio, 1 - CLIP, 1 + CLIP)
    gain = jnp.minimum(ratio * advantage, clipped * advantage).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(axis=-1).mean()
    return -gain + 0.5 * jnp.square(value - target).mean() - bonus * entropy


def train(env: Any, key: jax.Array, lanes: int, updates: int) -> tuple[Any, Any, Any]:
    """Trains in one scan over the updates; jittable.

    Args:
        env: a batch of environments that takes a key a lane, records, and resets by itself.
        key: PRNG key.
        lanes: size of the batch.
        updates: of the network.

    Returns:
        The network, the trace, and `[update]` episodes that ended and that were solved.
    """
    key, seed, first = jax.random.split(key, 3)
    net, static = eqx.partition(Network(seed), eqx.is_array)
    schedule = optax.linear_schedule(RATE, 0.0, updates * EPOCHS * MINIBATCHES)
    optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(schedule))

    def act(net: Any, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vmap(eqx.combine(net, static))(observation)

    def step(carry: Any, key: jax.Array) -> tuple[Any, Sample]:
        net, state, observation = carry
        logits, value = act(net, observation)
        index = jax.random.categorical(key, logits).astype(jnp.int32)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), index[:, None], axis=1)[:, 0]
        # The trace rides in `state`: this is the whole of it.
        state, timestep = env.step(state, index)
        solved = timestep.terminated() & (timestep.reward > 0.5)
        sample = Sample(
            observation, index, log_prob, value, timestep.reward, timestep.last(), solved
        )
        return (net, state, timestep.observation), sample

    def learn(carry: Any, batch: Any) -> tuple[Any, None]:
        net, state = carry
        grads = jax.grad(lambda net: loss(eqx.combine(net, static), *batch))(net)
        changes, state = optimiser.update(grads, state)
        return (optax.apply_updates(net, changes), state), None

    def update(carry: Any, now: Any) -> tuple[Any, dict[str, jax.Array]]:
        net, opt, state, observation = carry
        key, left = now
        play, shuffle = jax.random.split(key)
        (_, state, observation), samples = jax.lax.scan(
            step, (net, state, observation), jax.random.split(play, STEPS)
        )
        advantage = advantages(samples, act(net, observation)[1])
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (samples, advantage))

        def epoch(carry: Any, key: jax.Array) -> tuple[Any, None]:
            order = jax.random.permutation(key, STEPS * lanes).reshape(MINIBATCHES, -1)
            batches = *jax.tree.map(lambda x: x[order], flat), jnp.full(MINIBATCHES, ENTROPY * left)
            return jax.lax.scan(learn, carry, batches)[0], None

        (net, opt), _ = jax.lax.scan(epoch, (net, opt), jax.random.split(shuffle, EPOCHS))
        found = {"episodes": samples.done.sum(), "solved": samples.solved.sum()}
        return (net, opt, state, observation), found

    state, timestep = env.reset(jax.random.split(first, lanes))
    carry = net, optimiser.init(net), state, timestep.observation
    # Less is explored as the learning rate falls.
    left = jnp.linspace(1.0, 0.0, updates)
    carry, curve = jax.lax.scan(update, carry, (jax.random.split(key, updates), left))
    net, _, state, _ = carry
    return eqx.combine(net, static), jt.detach(env, state)[1], curve


def first_and_last(episodes: jt.Episodes) -> tuple[jt.Episode, jt.Episode]:
    """Two episodes of one pair: one of the first that ended, and one of the last."""

    def pair(episode: jt.Episode) -> tuple[int, int]:
        return int(episode.constants["task_idx"]), int(episode.constants["pair_idx"])

    ended = [e for e in episodes if e.complete]
    first = {pair(e): e for e in ended if "first" in e.kept_by}
    last = [e for e in ended if "last" in e.kept_by and pair(e) in first]
    found = max(last, key=lambda e: (bool(e.success), len(e)))
    return first[pair(found)], found


def draw(rates: list[float], steps: int) -> jt.render.Picture:
    """The curve of success over the environment steps of training."""
    look, left, top, wide, high = jt.render.theme("default"), 64, 56, 560, 240
    x = [left + wide * (i + 1) / len(rates) for i in range(len(rates))]
    points = " ".join(f"{a:.1f},{top + high * (1 - b):.1f}" for a, b in zip(x, rates, strict=True))
    body = ['<text x="24" y="30" font-weight="600">Episodes solved in training</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + high * (1 - share)
        body.append(f'<path d="M{left} {y}h{wide}" stroke="{look.rule}"/>')
        body.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{share:.0%}</text>')
    for share in (0.0, 0.5, 1.0):
        at, millions = left + wide * share, steps * share / 1e6
        words = f"{millions:.2f} M steps"
        body.append(f'<text x="{at}" y="{top + high + 24}" text-anchor="middle">{words}</text>')
    body.append(f'<polyline points="{points}" fill="none" stroke="#0B62A8" stroke-width="2"/>')
    title = f"PPO on {len(TASKS)} ARC tasks: {rates[-1]:.0%} of episodes solved in the last update"
    return jt.render.Picture(680, 344, title, title, "".join(body), look)


def report(trace: Any, curve: Any, seconds: float, lanes: int, out: Path) -> dict[str, Any]:
    """Saves the trace and the curve, and draws both."""
    ended, solved = (curve[name].tolist() for name in ("episodes", "solved"))
    rates = [good / max(many, 1) for good, many in zip(solved, ended, strict=True)]
    steps = len(rates) * STEPS * lanes
    tenth = max(len(rates) // 10, 1)
    found = {
        "tasks": TASKS,
        "lanes": lanes,
        "environment_steps": steps,
        "episodes": sum(ended),
        "seconds_with_compilation": round(seconds, 1),
        "success_first_tenth": round(sum(rates[:tenth]) / tenth, 4),
        "success_last_tenth": round(sum(rates[-tenth:]) / tenth, 4),
        "success_by_update": [round(rate, 4) for rate in rates],
    }
    jt.save(out / "trace", trace, metadata={"success": found["success_last_tenth"]})
    (out / "curve.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    draw(rates, steps).save_png(out / "curve.png")
    pair = first_and_last(jt.load(out / "trace"))
    jt.render.compare(pair).save_png(out / "first_last.png")
    print(f"{found['episodes']} episodes in {seconds:.0f} s")
    print(f"solved: {found['success_first_tenth']:.1%} -> {found['success_last_tenth']:.1%}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("ppo"))
    parser.add_argument("--lanes", type=int, default=256)
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    # The first episodes on the shelf, the last in the ring, of a quarter of the lanes.
    spec = jt.TraceSpec(max_steps=TURNS, keep={"first": 64}, lanes=max(args.lanes // 4, 1))
    env = jt.TraceWrapper(VmapWrapper(make_env()), spec)
    begun = time.perf_counter()
    learn = jax.jit(lambda key: train(env, key, args.lanes, args.updates)[1:])
    trace, curve = jax.block_until_ready(learn(jax.random.key(args.seed)))
    report(trace, curve, time.perf_counter() - begun, args.lanes, args.out)


if __name__ == "__main__":
    main()

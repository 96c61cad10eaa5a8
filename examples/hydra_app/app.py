"""A Hydra program that composes JaxARC's groups with ours, records, and saves a run.

python app.py
python app.py dataset=arc_agi_2 tasks=[3e6067c3] action=full reward=evaluation selection=bbox
python app.py level=verbose render=colorblind trace.capture.keep.failed=4
python app.py --multirun seed=0,1,2          # one run directory each, in runs/
"""

from functools import partial

import hydra
import jax
from jaxarc.configs import JaxArcConfig
from omegaconf import DictConfig, OmegaConf

import jaxarc_trace as jt
from jaxarc_trace.demo.player import scripted_player
from jaxarc_trace.demo.tasks import environment_of, quiet_jaxarc


def record(cfg: DictConfig) -> jt.Run | None:
    """Plays and saves; with `level=off` there is nothing to save, and no run."""
    config = jt.config.from_hydra(cfg)  # all that is wrong with it is said here, before the work
    quiet_jaxarc()
    env = environment_of(JaxArcConfig.from_hydra(cfg), cfg.tasks, action=cfg.selection)
    play = partial(
        jt.rollout,
        env,
        scripted_player(cfg.selection),
        spec=config.spec(),
        num_lanes=cfg.lanes,
        num_steps=cfg.steps,
    )
    # JaxARC's own checks do not take the newer keys of jax.random.key.
    _, trace = jax.jit(play)(jax.random.PRNGKey(cfg.seed))
    if trace is None:
        return None
    theirs = OmegaConf.to_container(cfg, resolve=True)
    theirs.pop("trace")
    with jt.config.begin_run(config, theirs) as run:
        run.save(trace, step=cfg.steps, background=config.storage.background)
        jt.config.draw(config, run.episodes(), run.path)
    return run


@hydra.main(version_base="1.3", config_path="conf", config_name="app")
def main(cfg: DictConfig) -> None:
    run = record(cfg)
    print("Nothing was recorded." if run is None else f"Saved to {run.path}")


if __name__ == "__main__":
    main()

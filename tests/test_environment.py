"""What launchers leave in the environment: real ones are believed, everything else counts for nothing."""

import pytest

from genzoo.environment import Place, place, settled, strays

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29400",
}
SRUN = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}


def test_torchrun_and_srun_say_where_a_process_stands():
    assert place({}) == Place()
    assert place(TORCHRUN) == Place("torchrun", rank=3, world=4, local=1, here=2, port=29400)
    assert place(SRUN) == Place("srun", rank=5, world=8, local=1, here=4, port=15000 + 4567)
    assert place(SRUN | {"MASTER_PORT": "4000"}).port == 4000
    assert place(SRUN | TORCHRUN).launcher == "torchrun"  # one torchrun for each node, which srun starts
    assert not strays(TORCHRUN) + strays(SRUN) + strays({})


def test_tasks_of_a_node_are_those_of_the_step():
    step = {name: value for name, value in SRUN.items() if name != "SLURM_NTASKS_PER_NODE"}
    assert place(step).here == 4
    assert place(SRUN | {"SLURM_STEP_NUM_NODES": "1"}).here == 8


@pytest.mark.parametrize(
    "found",
    [
        {"RANK": "1"},
        {"RANK": "x", "WORLD_SIZE": "0"},
        {"LOCAL_RANK": "1"},
        {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "0"},
        {name: value for name, value in TORCHRUN.items() if name != "TORCHELASTIC_RUN_ID"},
    ],
)
def test_ranks_without_a_launcher_are_told_and_count_for_nothing(found):
    assert place(found) == Place()
    (line,) = strays(found)
    assert all(f"{name}={value}" in line for name, value in found.items() if not name.startswith("MASTER"))
    assert "torchrun" in line and "\n" not in line


@pytest.mark.parametrize(
    "found",
    [
        {"SLURM_NTASKS": "2"},  # of salloc
        {"SLURM_NTASKS": ""},
        SRUN | {"ENVIRONMENT": "BATCH", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"},  # of sbatch
    ],
)
def test_tasks_that_srun_has_not_started_are_told_and_count_for_nothing(found):
    assert place(found) == Place()
    (line,) = strays(found)
    assert f"SLURM_NTASKS={found['SLURM_NTASKS']}" in line and "srun" in line
    assert place(SRUN | {"ENVIRONMENT": "BATCH", "SLURM_STEP_ID": "0"}).launcher == "srun"  # in the script


def test_a_notebook_that_says_world_size_1_is_left_alone():
    found = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "x"}
    assert place(found) == Place() and not strays(found)
    assert place(SRUN | {"SLURM_NTASKS": "1"}) == Place()


@pytest.mark.parametrize(
    ("launcher", "name", "value"),
    [
        ("torchrun", "RANK", None),
        ("torchrun", "RANK", "-1"),
        ("torchrun", "RANK", "4"),
        ("torchrun", "LOCAL_RANK", "2"),
        ("torchrun", "WORLD_SIZE", "2.0"),
        ("torchrun", "WORLD_SIZE", "0"),
        ("torchrun", "WORLD_SIZE", "5"),
        ("torchrun", "LOCAL_WORLD_SIZE", "0"),
        ("torchrun", "LOCAL_WORLD_SIZE", ""),
        ("torchrun", "MASTER_PORT", None),
        ("torchrun", "MASTER_PORT", "70000"),
        ("srun", "SLURM_NTASKS", "many"),
        ("srun", "SLURM_PROCID", "8"),
        ("srun", "SLURM_PROCID", "²"),
        ("srun", "SLURM_LOCALID", "4"),
        ("srun", "SLURM_NTASKS_PER_NODE", "0"),
        ("srun", "SLURM_NTASKS_PER_NODE", "3"),
        ("srun", "SLURM_JOB_ID", "job"),
    ],
)
def test_a_launcher_that_contradicts_itself_is_refused_by_the_name_of_the_variable(launcher, name, value):
    found = dict(TORCHRUN if launcher == "torchrun" else SRUN)
    found.pop(name)
    found |= {} if value is None else {name: value}
    with pytest.raises(ValueError, match=name) as refused:
        place(found)
    told = str(refused.value)
    assert launcher in told and "unset" in told and told.count("\n") <= 2
    assert value is None or f"{name}={value}" in told


def test_variables_of_lightning_are_told_hidden_and_given_back(monkeypatch, capsys):
    import os

    monkeypatch.setenv("PL_TRAINER_FAST_DEV_RUN", "1")
    monkeypatch.setenv("PL_GLOBAL_SEED", "x")
    with settled():
        assert not [name for name in os.environ if name.startswith("PL_")]
    assert os.environ["PL_GLOBAL_SEED"] == "x"
    told = capsys.readouterr().err
    assert "PL_GLOBAL_SEED, PL_TRAINER_FAST_DEV_RUN" in told and told.count("\n") == 1

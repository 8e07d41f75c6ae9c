"""The variables of each launcher, as its documentation has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_parallel.api import LauncherError, ParallelError, Place, find_place

TORCHRUN = {
    "LOCAL_RANK": "1",
    "RANK": "5",
    "GROUP_RANK": "1",
    "ROLE_RANK": "5",
    "LOCAL_WORLD_SIZE": "4",
    "WORLD_SIZE": "8",
    "ROLE_WORLD_SIZE": "8",
    "MASTER_ADDR": "worker-0",
    "MASTER_PORT": "29400",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "TORCHELASTIC_MAX_RESTARTS": "3",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "OMP_NUM_THREADS": "1",
}
# A job of five tasks on three nodes, and the batch script that has started its step.
BATCH = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOBID": "4711",
    "SLURM_JOB_NODELIST": "gpu[007-008,011]",
    "SLURM_JOB_NUM_NODES": "3",
    "SLURM_NTASKS": "5",
    "SLURM_TASKS_PER_NODE": "2(x2),1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
SRUN = {
    **BATCH,
    "SLURM_STEP_ID": "0",
    "SLURM_STEPID": "0",
    "SLURM_STEP_NODELIST": "gpu[007-008,011]",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
# A shell that salloc has opened on the first node (LaunchParameters=use_interactive_step).
SALLOC = {**BATCH, "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_UNIVERSE_SIZE": "4",
    "OMPI_COMM_WORLD_NODE_RANK": "3",
    "PMIX_NAMESPACE": "2917072897",
}
HYDRA = {
    "PMI_RANK": "1",
    "PMI_SIZE": "2",
    "PMI_FD": "9",
    "MPI_LOCALRANKID": "1",
    "MPI_LOCALNRANKS": "2",
}
MVAPICH = {
    "MV2_COMM_WORLD_RANK": "1",
    "MV2_COMM_WORLD_SIZE": "2",
    "MV2_COMM_WORLD_LOCAL_RANK": "1",
    "MV2_COMM_WORLD_LOCAL_SIZE": "2",
    "PMI_RANK": "1",
    "PMI_SIZE": "2",
}
MEETING = {"MASTER_ADDR": "head", "MASTER_PORT": "12345"}


def found(environ) -> Place:
    place = find_place(environ)
    assert place is not None
    return place


def numbers(environ) -> tuple:
    place = found(environ)
    return (
        place.launcher,
        place.rank,
        place.world_size,
        place.local_rank,
        place.local_world_size,
    )


def without(environ, *names):
    return {name: value for name, value in environ.items() if name not in names}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (TORCHRUN, ("torchrun", 5, 8, 1, 4)),
        (SRUN, ("Slurm", 3, 5, 1, 2)),
        ({**SRUN, "SLURM_NODEID": "2", "SLURM_PROCID": "4", "SLURM_LOCALID": "0"},
         ("Slurm", 4, 5, 0, 1)),
        (OPEN_MPI, ("Open MPI", 3, 4, 3, 4)),
        (HYDRA, ("MPICH or Intel MPI", 1, 2, 1, 2)),
        (MVAPICH, ("MVAPICH", 1, 2, 1, 2)),
        # Slurm starts one torchrun or one daemon of mpirun on each node; these start the processes.
        ({**SRUN, **TORCHRUN}, ("torchrun", 5, 8, 1, 4)),
        ({**SRUN, **OPEN_MPI}, ("Open MPI", 3, 4, 3, 4)),
        ({**SRUN, **HYDRA}, ("MPICH or Intel MPI", 1, 2, 1, 2)),
        # srun --mpi=pmi2 speaks PMI itself, without the numbers on the node.
        ({**SRUN, "PMI_RANK": "3", "PMI_SIZE": "5"}, ("Slurm", 3, 5, 1, 2)),
        # A batch script may have told the size of the group already.
        ({**SRUN, **MEETING, "WORLD_SIZE": "5"}, ("Slurm", 3, 5, 1, 2)),
        (without(SRUN, "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID"),
         ("Slurm", 3, 5, 1, 2)),
        # One process per pod in Kubernetes; and two by hand on this machine.
        ({"RANK": "1", "WORLD_SIZE": "2", **MEETING}, ("the environment", 1, 2, 0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2", **MEETING, "MASTER_ADDR": "localhost"},
         ("the environment", 1, 2, 1, 2)),
        ({"RANK": "0", "WORLD_SIZE": "1", **MEETING}, ("the environment", 0, 1, 0, 1)),
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", **MEETING},
         ("the environment", 5, 8, 1, 4)),
    ],
)  # fmt: skip
def test_each_launcher_says_where_the_process_stands(environ, expected: tuple) -> None:
    assert numbers(environ) == expected


@pytest.mark.parametrize(
    "environ",
    [
        {},
        MEETING,  # of `fit(num_nodes=2)`, which starts its processes itself
        BATCH,
        SALLOC,
        without(SALLOC, "SLURM_STEP_NUM_TASKS"),
        {**BATCH, "SLURM_STEP_ID": "4294967291"},
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},
        {**SALLOC, "PMI_RANK": "0", "PMI_SIZE": "1", "SLURM_STEP_ID": "3"},
        {"LOCAL_RANK": "0"},
    ],
)
def test_a_process_that_nobody_started_as_one_of_several_is_alone(environ) -> None:
    assert find_place(environ) is None


@pytest.mark.parametrize(
    ("environ", "address", "port"),
    [
        (TORCHRUN, "worker-0", 29400),
        ({**SRUN, **MEETING}, "head", 12345),
        ({**SRUN, "MASTER_PORT": "12345"}, "gpu007", 12345),
        ({**HYDRA, **MEETING}, "head", 12345),
        ({**HYDRA, "MASTER_PORT": "12345"}, "127.0.0.1", 12345),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "8", **MEETING}, "head", 12345),
    ],
)
def test_where_the_processes_meet(environ, address: str, port: int) -> None:
    place = found(environ)
    assert (place.address, place.port) == (address, port)
    assert place.init_method == f"tcp://{address}:{port}"


def test_an_address_of_ipv6_is_told_as_torch_reads_it() -> None:
    assert found({**TORCHRUN, "MASTER_ADDR": "fe80::1"}).init_method == "tcp://[fe80::1]:29400"


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node[01-04,07],other3", "node01"),
        ("other3,node[01-04,07]", "other3"),
        ("node7", "node7"),
        ("rack[2-3]node[005,007-009]", "rack2node005"),
        ("node[3-4]-ib,x", "node3-ib"),
        ("a-b.example.org,c", "a-b.example.org"),
    ],
)
def test_the_first_of_slurms_hosts(hosts: str, first: str) -> None:
    assert found({**SRUN, "SLURM_STEP_NODELIST": hosts}).address == first
    assert found({**without(SRUN, "SLURM_STEP_NODELIST"), "SLURM_JOB_NODELIST": hosts}).address == (
        first
    )


@given(job=st.integers(1, 10**9), step=st.integers(0, 10**5), rank=st.integers(0, 4))
def test_a_port_is_the_same_for_all_of_a_step_and_seldom_that_of_another(job, step, rank) -> None:
    nodes = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    node, local = nodes[rank]
    here = {**SRUN, "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)}
    there = {**here, "SLURM_PROCID": str(rank), "SLURM_NODEID": str(node)}
    port = found({**there, "SLURM_LOCALID": str(local)}).port
    assert port == found(here).port
    assert 10_000 <= port < 30_000
    later = [{**here, "SLURM_STEP_ID": str(step + n)} for n in range(1, 9)]
    assert len({port, *(found(environ).port for environ in later)}) >= 8


def test_two_runs_of_mpi_on_one_machine_have_ports_of_their_own() -> None:
    assert found(OPEN_MPI).port != found({**OPEN_MPI, "PMIX_NAMESPACE": "2917072899"}).port


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (without(TORCHRUN, "WORLD_SIZE"), "TORCHELASTIC_RUN_ID is set and WORLD_SIZE is not"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "RANK and WORLD_SIZE are set and MASTER_ADDR, MASTER"),
        ({"RANK": "0"}, "RANK is set and WORLD_SIZE, MASTER_ADDR, MASTER_PORT are not"),
        ({**TORCHRUN, "RANK": "8"}, "torchrun.*cannot be together: rank 8, world size 8"),
        ({**TORCHRUN, "LOCAL_RANK": "4"}, "local rank 4, local world size 4"),
        ({**TORCHRUN, "WORLD_SIZE": "0", "RANK": "0"}, "rank 0, world size 0"),
        ({"RANK": "0", "WORLD_SIZE": "0", **MEETING, "MASTER_ADDR": "localhost"}, "world size 0"),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "9"}, "world size 8, .*local world size 9"),
        ({**TORCHRUN, "WORLD_SIZE": "two"}, "WORLD_SIZE must be a number, got 'two'"),
        ({**TORCHRUN, "MASTER_PORT": ""}, "MASTER_PORT must be a number, got ''"),
        (without(SRUN, "SLURM_LOCALID"), "SLURM_STEP_NUM_TASKS is set and SLURM_LOCALID is not"),
        (without(SRUN, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"), "SLURM_JOB_NODELIST is not"),
        ({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2"}, r"NUM_TASKS=5.* per node are \[2\]"),
        ({**SRUN, "SLURM_NODEID": "3"}, r"SLURM_NODEID=3.* per node are \[2, 2, 1\]"),
        ({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2(x"}, r"like 4 or 2\(x3\),1; got '2\(x'"),
        ({**SRUN, "SLURM_STEP_NODELIST": "[,"}, r"like node\[01-04,07\],other3; got '\[,'"),
        ({**SRUN, "WORLD_SIZE": "3"}, "Slurm says world size 5.* WORLD_SIZE says 3: unset"),
        ({**HYDRA, "RANK": "0"}, "Intel MPI says rank 1.* RANK says 0: unset"),
        (without(HYDRA, "MPI_LOCALRANKID"), "MPI_LOCALRANKID is not"),
        (without(OPEN_MPI, "OMPI_COMM_WORLD_SIZE"), "OMPI_COMM_WORLD_SIZE is not"),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "8"}, "Open MPI started .* several nodes.*MASTER_A"),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "8", "MASTER_ADDR": "head"}, "set MASTER_ADDR"),
    ],
)
def test_what_makes_no_group_is_told_by_the_names_of_the_variables(environ, said: str) -> None:
    with pytest.raises(LauncherError, match=said) as caught:
        find_place(environ)
    assert isinstance(caught.value, ParallelError)

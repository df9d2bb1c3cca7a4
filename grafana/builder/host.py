"""One host: its pools over time, what protects them, and who says so."""

from __future__ import annotations

from grafana.builder import host_pools, host_program
from grafana.builder.frame import Mark, Row, choice, datasource, frame, link, render
from grafana.builder.panels import AMBER, BLUE, GREEN, RED
from grafana.builder.selectors import FLEET, HOST, POOL

# At a minute's steps: longer ones would miss what lasts no longer than a scrape.
MARKS = (
    Mark(
        name="Data extended",
        expr=f"thinpool_data_size_bytes{{{POOL}}}"
        f" > thinpool_data_size_bytes{{{POOL}}} offset 1m",
        title="Data of {{vg}}/{{pool}} extended",
        text="by the guard, dmeventd or somebody",
        colour=BLUE,
        tags="vg,pool",
    ),
    Mark(
        name="Metadata extended",
        expr=f"thinpool_metadata_size_bytes{{{POOL}}}"
        f" > thinpool_metadata_size_bytes{{{POOL}}} offset 1m",
        title="Metadata of {{vg}}/{{pool}} extended",
        text="by the guard, dmeventd or somebody",
        colour="purple",
        tags="vg,pool",
    ),
    Mark(
        name="Volume group extended",
        expr=f'thinpool_vg_size_bytes{{{HOST}, vg=~"$vg"}}'
        f' > thinpool_vg_size_bytes{{{HOST}, vg=~"$vg"}} offset 1m',
        title="{{vg}} extended",
        text="somebody gave it a disk",
        colour=GREEN,
        tags="vg",
    ),
    Mark(
        name="Extension failed",
        expr=f"increase(thinpool_guard_extend_failures_total{{{POOL}}}[2m]) > 0",
        title="{{vg}}/{{pool}}: {{device}} not extended, {{reason}}",
        text="the guard's journal says what LVM said",
        colour=AMBER,
        tags="vg,pool,reason",
    ),
    Mark(
        name="Page",
        expr=f'ALERTS{{{HOST}, alertstate="firing", severity="critical"}}',
        title="{{alertname}} {{vg}}/{{pool}}",
        text="a critical alert fires",
        colour=RED,
        tags="alertname,vg,pool",
    ),
)


def dashboard() -> str:
    """Write the JSON of the dashboard."""
    pools = f"label_values(thinpool_info{{{HOST}"
    board = (
        frame(
            "thinpool-host",
            "Thin pools: host",
            "The pools of one host: how full, how soon full, what protects them.",
            hours=24,
        )
        .with_variable(datasource())
        .with_variable(
            choice(
                "cluster",
                "Cluster",
                "label_values(thinpool_exporter_build_info, cluster)",
                every=".*",
            )
        )
        # One host at a time: its pools' names are those of other hosts' pools.
        .with_variable(
            choice(
                "job",
                "Job",
                'label_values(thinpool_exporter_build_info{cluster=~"$cluster"}, job)',
                is_one=True,
            )
        )
        .with_variable(
            choice(
                "instance",
                "Instance",
                f"label_values(thinpool_exporter_build_info{{{FLEET}}}, instance)",
                is_one=True,
            )
        )
        # .*, as a pool that is not LVM's has no VG.
        .with_variable(choice("vg", "VG", f"{pools}}}, vg)", every=".*"))
        .with_variable(choice("pool", "Pool", f'{pools}, vg=~"$vg"}}, pool)', every=".*"))
        .link(link("Fleet", "/d/thinpool-fleet?${datasource:queryparam}", is_ours=True))
        .link(link("The exporter's own page", "http://${instance}/", is_ours=False))
    )
    return render(
        board,
        (
            Row(title="Now", panels=host_pools.now()),
            Row(title="Data", panels=host_pools.data()),
            Row(title="Metadata", panels=host_pools.metadata()),
            Row(title="Who fills it", panels=host_pools.volumes()),
            Row(title="Promises and weeks", panels=host_pools.capacity()),
            Row(title="Guard", panels=host_program.guard()),
            Row(title="Docker's own view", panels=host_program.docker()),
            Row(title="Collectors and exporter", panels=host_program.exporter()),
        ),
        MARKS,
    )

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from django_claude_batches import conf, job_registry, services, tasks
from django_claude_batches.management.cli import run_output
from django_claude_batches.management.cli.argument_types import valid
from django_claude_batches.management.cli.batch_output import counted, estimate_data, estimated
from django_claude_batches.management.cli.console import Console
from django_claude_batches.management.cli.cost_guard import add_yes, refuse_much
from django_claude_batches.management.cli.exit_codes import Exit
from django_claude_batches.management.cli.graceful_stop import Interruption
from django_claude_batches.management.cli.subcommand import Subcommand
from django_claude_batches.management.subcommands.run_actions import add_skip_unaskable
from django_claude_batches.management.subcommands.wait import seconds
from django_claude_batches.models import JobRun, RunState
from django_claude_batches.models.run_attention import attention
from django_claude_batches.models.run_totals import RunTotals
from django_claude_batches.services.runs.advance import steps


class Run(Subcommand):
    name = "run"
    help = (
        "Start a job: a worker, or `tick`, drafts its rows, sends them and delivers the answers. Without a "
        "name, the jobs are listed. A large run requires --yes, for which all rows are looked at first. --wait "
        "does what is due here until the run is over, with or without workers; Ctrl-C stops waiting, and the "
        "run continues."
    )
    example = "manage.py claude_batches run tag-reviews --label nightly --dry-run"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("job", nargs="?", metavar="JOB", help="its name")
        parser.add_argument("--label", type=valid(JobRun, "label"), default="", help="a name for this run")
        parser.add_argument(
            "--dry-run", action="store_true", help="only report what would be sent, and show the first requests"
        )
        add_skip_unaskable(parser)
        parser.add_argument("--wait", action="store_true", help="until the run is over")
        parser.add_argument(
            "--interval", type=seconds, default=10.0, metavar="SECONDS", help="with --wait: between two looks (10)"
        )
        add_yes(parser)

    def run(self, console: Console, options: dict[str, Any]) -> None:
        name = options["job"]
        if name is None:
            _list(console)
        elif options["dry_run"]:
            _show(console, services.dry_run(name, skip_unaskable=options["skip_unaskable"]))
        else:
            if not options["yes"]:
                _refuse_much(console, options)
            run = services.start_job(name, label=options["label"], skip_unaskable=options["skip_unaskable"])
            tasks.kick()
            if options["wait"]:
                _wait(console, run, options["interval"])
            run_output.show(console, [run])
            if options["wait"]:
                _judge(run)


def _list(console: Console) -> None:
    for name in job_registry.names():
        console.say(name)
    if not job_registry.names():
        console.say("No job is known. One is a subclass of BatchJob in an app's module claude_jobs.")
    console.document({"jobs": job_registry.names()})


def _show(console: Console, look: services.DryRun) -> None:
    for sample in look.samples:
        console.say(str(sample))
    sums = [counted(look.rows, "row"), counted(look.requests, "request"), counted(look.batches, "batch", "batches")]
    console.say(f"{', '.join(sums)}, {look.bytes:,} bytes. Nothing was stored or sent.")
    if look.left_out:
        console.say(f"{counted(look.left_out, 'row')} would be left out, because they cannot be asked:")
        for row, why in look.left_out_rows:
            console.say(f"  {row}: {why}")
    console.say(f"Estimate: {estimated(look.estimate)}.")
    console.document(
        {
            "dry_run": True,
            "rows": look.rows,
            "left_out": look.left_out,
            "left_out_rows": look.left_out_rows,
            "request_count": look.requests,
            "batch_count": look.batches,
            "body_bytes": look.bytes,
            "estimate": estimate_data(look.estimate),
            "first": look.samples,
        }
    )


def _refuse_much(console: Console, options: dict[str, Any]) -> None:
    """Refuse an unconfirmed large run. Read all rows, if there is a limit to compare them with."""
    if conf.confirm_above_requests() is None and conf.confirm_above_usd() is None:
        return
    console.progress("Looking at what it would send")
    look = services.dry_run(options["job"], skip_unaskable=options["skip_unaskable"])
    label = ["--label", options["label"]] if options["label"] else []
    flags = [f"--{name.replace('_', '-')}" for name in ("skip_unaskable", "wait") if options[name]]
    words = ["run", options["job"], *label, *flags]
    refuse_much(look.requests, lambda: look.estimate, undone="Not started", again=shlex.join(words))


def _wait(console: Console, run: JobRun, interval: float) -> None:
    """Do what is due until the run is over, requires a person, or a stop is requested."""
    seen = None
    with Interruption() as interruption:
        while run.is_active and not run_output.stands_still(run):
            for _step in steps(run):
                if interruption.wished:
                    break
            run.refresh_from_db(using=JobRun.objects.primary().db)
            totals = RunTotals.of(run)
            console.progress(run_output.glance(run, totals), plain=True)
            moved, seen = seen != totals, totals
            if interruption.pause(0 if moved else interval):
                break


def _judge(run: JobRun) -> None:
    why = attention(run)
    if run_output.stands_still(run) or (why and not run.is_active):
        raise CommandError(f"Run {run} needs a person. {why}", returncode=Exit.NEEDS_A_PERSON)
    if run.is_active:
        raise CommandError(
            f"Stopped waiting, and it continues: run {run} ({RunState(run.state).label}).", returncode=Exit.TIMED_OUT
        )

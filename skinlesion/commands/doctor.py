"""`skinlesion doctor`."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from skinlesion.commands.outputs import write_json
from skinlesion.doctor import diagnose

# Text goes through print, not the console: lines and paths are not broken at the terminal's width.


def doctor(*, json: Path | None = None) -> None:
    """Report what this machine can do: versions, devices, scan engines, weights, and a two-second speed check.

    Args:
        json: File for the result as JSON; - for standard output. Replaces the tables.
    """
    found = diagnose()
    if json is not None:
        write_json(found, json)
        return
    console = Console(highlight=False)
    _versions(found)
    _engines(console, found)
    _weights(found)
    speed = found["speed"]
    if speed["error"]:
        print(f"Speed: {speed['error']}")
    else:
        print(
            f"Speed: {speed['images_per_second']} images a second ({speed['model']} at {speed['size']} pixels "
            f"on the CPU, engine {speed['engine']}; the first image took {speed['first_image_seconds']} s)"
        )


def _versions(found: dict[str, Any]) -> None:
    print(f"skinlesion {found['skinlesion']}, Python {found['python']}, torch {found['torch']}, {found['system']}")
    packages = ", ".join(f"{name} {version or '(not installed)'}" for name, version in found["packages"].items())
    print(packages)
    threads = found["threads"]
    policy = threads["wait_policy"].lower()
    print(f"Threads: {threads['torch']} for torch, {threads['cores']} cores, wait policy {policy}")
    for device in found["devices"]:
        engine = found["auto"][device["name"]]
        chosen = f"auto uses the scan engine {engine}" if engine else "no fast scan engine"
        print(f"Device {device['name']}: {device['description']}; {chosen}")


def _engines(console: Console, found: dict[str, Any]) -> None:
    table = Table("scan engine", "available", "what it is, or how to get it", "devices", title_justify="left")
    for engine in found["engines"]:
        taken = engine["name"] in found["auto"].values()
        available = "yes, auto" if taken else "yes" if engine["available"] else "no"
        table.add_row(engine["name"], available, Text(engine["reason"]), ", ".join(engine["devices"]))
    console.print(table)


def _weights(found: dict[str, Any]) -> None:
    if not found["weights"]:
        print("Weights: none come with this installation; train some with `skinlesion train`")
    for weights in found["weights"]:
        what = weights["error"] or f"network {weights['model']}"
        print(f"Weights {weights['name']}: {what}, {weights['megabytes']:.1f} MB")

"""Command line of the exfiltration room."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from mimir.errors import EXIT_DONE, EXIT_SPEC, MimirError


def main(arguments: list[str] | None = None) -> int:
    """`paths POLICY.txt --from STORE`: the ways out that a policy allows; 0 when there are any, 2 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m mimir.exfiltration", description="Ways out of an application.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("paths", help="list the paths from a store to the outside that a policy text allows")
    listing.add_argument("policy", type=Path, help="sentences such as: front-end may talk to user")
    listing.add_argument("--from", dest="store", required=True, help="the store the data is in")
    listing.add_argument(
        "--and-from", nargs="*", default=[], metavar="STORE", help="further stores, for a fan into one relay"
    )
    listing.add_argument("--max-hops", type=int, default=5, help="longest path (default 5)")
    listing.add_argument("--direction", choices=("request", "reply", "mixed"), default="mixed")
    listing.add_argument("--count", type=int, default=20, help="at most so many (default 20)")
    chosen = parser.parse_args(arguments)
    from mimir.exfiltration.netsec import parse_policy
    from mimir.exfiltration.paths import carriages, directed_paths

    try:
        policy = parse_policy(chosen.policy.read_text(encoding="utf-8"))
    except OSError as error:
        print(f"{chosen.policy} cannot be read ({error.strerror}); name a file of sentences such as: front-end may talk to user",
              file=sys.stderr)  # fmt: skip
        return EXIT_SPEC
    except (MimirError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return EXIT_SPEC
    edges = policy.edges
    known = sorted({name for edge in edges for name in edge})
    for store in (chosen.store, *chosen.and_from):
        if store not in known:
            close = get_close_matches(store, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            print(f"{chosen.policy} does not name {store!r} (it names: {', '.join(known)}){hint}", file=sys.stderr)
            return EXIT_SPEC
    paths = directed_paths(edges, chosen.store, chosen.max_hops, chosen.direction, chosen.count)
    if not paths:
        print(f"no way from {chosen.store} to the outside within {chosen.max_hops} hops", file=sys.stderr)
        return EXIT_SPEC
    for path in paths:
        how = ", ".join(carriages(path, edges))
        for address in ("service", "pod")[: 2 if policy.reaches_pods(path) else 1]:
            print(f"'exfiltration.path=[{','.join(path)}]' exfiltration.address={address}  # {how}")
    for fan in _fans(paths, edges, chosen):
        print(fan)
    return EXIT_DONE


def _fans(paths: list[tuple[str, ...]], edges: Collection[tuple[str, str]], chosen: argparse.Namespace) -> list[str]:
    """How these paths can be used at once: by one store, and together with further stores that reach the same relay."""
    from mimir.exfiltration.paths import directed_paths

    found = []
    relayed = [path for path in paths if len(path) > 2]
    if relayed:
        count = max(2, len(relayed))
        found.append(
            f"'exfiltration.fan={{kind:one_to_n,branches:{count},stores:[]}}'  # {chosen.store} → several relays at once"
        )
    for path in relayed[:1]:
        ways = {
            store: directed_paths(edges, store, chosen.max_hops, chosen.direction, chosen.count)
            for store in chosen.and_from
        }
        joining = [store for store, found_ways in ways.items() if any(way[-2:] == path[-2:] for way in found_ways)]
        if joining:
            fan = f"{{kind:n_to_1,branches:{len(joining) + 1},stores:[{','.join(joining)}]}}"
            found.append(f"'exfiltration.fan={fan}'  # several stores → {path[-2]}")
    return found


if __name__ == "__main__":
    sys.exit(main())

"""Experiment files of the research prototype (JSON) → experiments of Mimir (YAML), with a list of what has no counterpart.

One file of the prototype may hold several leaks; each becomes an experiment of its own. Files named `…_analysis.json`
describe an analysis of captures that exist: they become one experiment on `cluster=recorded`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mimir.errors import MimirError
from mimir.files import read_json

APPLICATIONS = {
    "sockshop": "sockshop",
    "wordpress": "wordpress",
    "hipsterstore": "hipsterstore",
    "robotshop": "robotshop",
}
PROFILES = {
    "normal": "normal",
    "bursty": "bursty",
    "viral": "viral",
    "cybermonday": "cybermonday",
    "cyber": "cybermonday",
}
#: names the prototype gives to the host outside
OUTSIDE = ("internet", "outside", "myownmachine", "localdet")
#: protocol of a leak that goes straight out → option of conf/exfiltration
STRAIGHT = {
    "tcp": "direct",
    "http": "http_post",
    "https": "https",
    "dns": "dns_tunnel",
    "dnscat": "dns_tunnel",
    "icmp": "icmp",
}
#: what is understood below, and why the rest of the known keys has no counterpart
USED = {"application_name", "experiment_name", "experiment_length_sec", "experiment", "exfiltration_info", "pcap_file_name",
        "pod_creation_log_name"}  # fmt: skip
USED_OF_LEAKS = {"sensitive_ms", "exfil_paths", "exfil_protocols", "exfil_methods", "exfil_StartEnd_times",
                 "DET_min_exfil_data_per_packet_bytes", "DET_max_exfil_data_per_packet_bytes",
                 "DET_avg_exfiltration_rate_KB_per_sec"}  # fmt: skip
USED_OF_LOAD = {"number_background_locusts", "traffic_type", "number_reps_workload_pattern"}
WHY_NOT = {
    "background_locust_spawn_rate": "users come and go one by one along the profile",
    "exfil_path_class_to_image": "relays are no images of their own",
    "exfiltration_path_class_which_installer": "nothing is installed in the application's pods",
    "physical_attacks": "leaks always really happen",
    "sec_between_exfil_pkts": "an estimate for labels; labels come from the ledger",
    "orchestrator": "choose it with cluster=…",
    "network_plugin": "the simulated node routes between veth pairs",
    "Deployment": "replicas and scaling belong to the application: app.services.<name>.replicas",
    "setup": "the application populates itself: app.collections",
    "prob_distro": "behaviours and their shares belong to the application: load.mix",
    "split_pcap": "captures are read as streams",
}


@dataclass
class Experiment:
    """One experiment: values for YAML by group, and what was lost, `key: reason`."""

    name: str
    groups: dict[str, str] = field(default_factory=dict)  #: Hydra group → option
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The file for conf/experiment."""
        import yaml

        head = ["# @package _global_", f"# From the research prototype's experiment {self.name}.", "# Not translated:"]
        head += [f"#   {line}" for line in self.lost] or ["#   nothing"]
        head += ["defaults:", *(f"  - override /{group}: {option}" for group, option in self.groups.items())]
        body = yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True, default_flow_style=None)
        return "\n".join(head) + "\n\n" + (body if self.values else "")


def read_prototype(path: Path) -> list[Experiment]:
    """Experiments of one file. Raises MimirError for what is no experiment file of the prototype."""
    try:
        document = read_json(path)
    except (OSError, ValueError) as error:
        raise MimirError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(document, Mapping) or not {"application_name", "exfiltration_info"} & document.keys():
        raise MimirError(f"{path}: is no experiment of the prototype (it needs application_name or exfiltration_info)")
    name = str(document.get("experiment_name") or path.stem).replace("/", "_")
    try:
        if "pcap_file_name" in document:
            return [_recorded(document, name)]
        leaks = document.get("exfiltration_info") or {}
        count = len(leaks.get("exfil_paths") or [])
        if not count:
            return [_acted(document, name, None)]
        return [_acted(document, f"{name}_{i + 1}" if count > 1 else name, i) for i in range(count)]
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        raise MimirError(f"{path}: a value has another form than expected: {type(error).__name__}: {error}") from error


def _recorded(document: Mapping[str, Any], name: str) -> Experiment:
    """An analysis of a capture that exists."""
    out = _begin(document, name)
    out.groups |= {"cluster": "recorded", "exfiltration": "none"}
    log = document.get("pod_creation_log_name")
    out.values["cluster"] = {"capture": document["pcap_file_name"]} | ({"entities": log} if log else {})
    leaks = document.get("exfiltration_info") or {}
    for key in sorted(USED_OF_LEAKS & leaks.keys() - {"sensitive_ms"}):
        out.lost.append(f"exfiltration_info.{key}: what happened belongs into a ledger, cluster.truth")
    return out


def _acted(document: Mapping[str, Any], name: str, number: int | None) -> Experiment:
    """An experiment that makes its own traffic, with leak `number`."""
    out = _begin(document, name)
    load, length = document.get("experiment") or {}, int(document.get("experiment_length_sec") or 0)
    kind = str(load.get("traffic_type") or "normal")
    out.groups["load"] = PROFILES.get(_plain(kind), "normal")
    if _plain(kind) not in PROFILES:
        out.lost.append(f"experiment.traffic_type: {kind} is no profile known here; normal stands in")
    values: dict[str, Any] = {}
    if "number_background_locusts" in load:
        values["users"] = int(load["number_background_locusts"])
    if length:
        values |= {"duration_s": length, "day_s": length // int(load.get("number_reps_workload_pattern") or 1)}
    if values:
        out.values["load"] = values
    leaks = document.get("exfiltration_info") or {}
    if number is None:
        out.groups["exfiltration"] = "none"
    else:
        _leak(out, leaks, number)
    return out


def _begin(document: Mapping[str, Any], name: str) -> Experiment:
    """Application, sensitive services, and the keys that have no counterpart."""
    out = Experiment(name)
    told = str(document.get("application_name") or "")
    out.groups["app"] = APPLICATIONS.get(_plain(told), "generic")
    if out.groups["app"] == "generic":
        out.lost.append(f"application_name: {told or 'not named'}; app=generic knows its name only")
    leaks, load = document.get("exfiltration_info") or {}, document.get("experiment") or {}
    if leaks.get("sensitive_ms"):
        out.values["app"] = {"sensitive": [str(service) for service in leaks["sensitive_ms"]]}
    for part, prefix, used in (
        (document, "", USED), (load, "experiment.", USED_OF_LOAD), (leaks, "exfiltration_info.", USED_OF_LEAKS),
    ):  # fmt: skip
        out.lost += [f"{prefix}{key}: {WHY_NOT.get(key, 'no counterpart')}" for key in part if key not in used]
    return out


def _leak(out: Experiment, leaks: Mapping[str, Any], number: int) -> None:
    """Path, channel, rate and length of one leak."""
    sensitive = [str(service) for service in leaks.get("sensitive_ms") or []]
    path = [str(hop) for hop in leaks["exfil_paths"][number] if _plain(str(hop)) not in OUTSIDE]
    if path and path[0] not in sensitive and path[-1] in sensitive:
        path.reverse()
    protocol = _plain(str(_nth(leaks, "exfil_protocols", number) or "tcp"))
    method = str(_nth(leaks, "exfil_methods", number) or "DET")
    option = "relay_chain" if len(path) > 1 else STRAIGHT.get(_plain(method), STRAIGHT.get(protocol, "direct"))
    out.groups["exfiltration"] = option
    if option == "relay_chain" and protocol != "http":
        out.lost.append(f"exfiltration_info.exfil_protocols: {protocol} between relays; HTTP stands in (http_relay)")
    elif option == "direct" and protocol != "tcp":
        out.lost.append(f"exfiltration_info.exfil_protocols: {protocol}; TCP stands in (raw_tcp)")
    values: dict[str, Any] = {}
    if path:
        values["path"] = [path[0], "kube-dns", "outside"] if option == "dns_tunnel" else [*path, "outside"]
    if (rate := _nth(leaks, "DET_avg_exfiltration_rate_KB_per_sec", number)) is not None:
        values["rate_bytes_per_min"] = round(float(rate) * 60_000)
    sizes = [_nth(leaks, f"DET_{which}_exfil_data_per_packet_bytes", number) for which in ("min", "max")]
    if None not in sizes:
        low, high = (float(size) for size in sizes if size is not None)
        values["bytes_per_message"] = round((low + high) / 2)
        if low != high:
            out.lost.append(f"exfiltration_info: messages of {low:g} to {high:g} bytes; their mean stands in")
    if times := _nth(leaks, "exfil_StartEnd_times", number):
        values |= {"incidents": 1, "incident_duration_s": int(times[1]) - int(times[0])}
        out.lost.append(f"exfiltration_info.exfil_StartEnd_times: begins at {times[0]} s; the seed decides when")
    out.values["exfiltration"] = {**values, "pacing": "jitter"}


def _nth(leaks: Mapping[str, Any], key: str, number: int) -> Any:
    """Value of one leak; a list shorter than the paths has none for the last ones."""
    values = leaks.get(key)
    if not isinstance(values, Sequence) or isinstance(values, str):
        return values
    return values[number] if number < len(values) else None


def _plain(text: str) -> str:
    """Letters and digits, small: spellings differ between the prototype's files."""
    return "".join(c for c in text.lower() if c.isalnum())

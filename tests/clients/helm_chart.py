"""Lints and renders the chart by Helm's own library, and looks at what comes out: helm_chart.py CHART [CONFIG].

Writes the default values' cordon.yaml to CONFIG, where one is named. Prints one line a case; the first thing that is wrong ends it with code 1.
"""

import copy
import sys

import helm_python.chart as helm
import yaml
from helm_python.errors import HelmError

CHART = sys.argv[1]

EXISTING = {
    "secrets": {which: {"existingSecret": f"my-{which}"} for which in ("authority", "identity", "database")}
}
CONTENTS = {
    "secrets": {
        "authority": {"contents": {"root.pem": "-----BEGIN CERTIFICATE-----"}},
        "identity": {"contents": {"installation.key": "00", "keys.json": "[]"}},
        "database": {"contents": {"url": "postgres://db/cordon"}},
        "environment": {"contents": {"OPENAI_API_KEY": "k"}},
    },
    "policy": "routes: []\nrules: []\n",
    "config": {"log": {"level": "debug"}, "gateway": {"certificate": "/x.pem"}},
    "gatewayNames": ["llm.company.example"],
    "autoscaling": {"enabled": False},
    "replicas": 3,
}
GPU = {
    **EXISTING,
    "engine": {
        "gpu": {"count": 2},
        "alias": "company-model",
        "weights": {"path": "/models/big.gguf", "volume": {"persistentVolumeClaim": {"claimName": "weights"}}},
    },
    "networkPolicy": {"deliver": [{"ports": [{"port": 6514}]}]},
}
ELSEWHERE = {**EXISTING, "engine": {"url": "https://models.company.example"}, "networkPolicy": {"enabled": False}}
CASES = {"existing secrets": EXISTING, "contents": CONTENTS, "gpu": GPU, "engine elsewhere": ELSEWHERE}


def check(holds, what):
    if not holds:
        print(f"wrong: {what}", file=sys.stderr)
        sys.exit(1)


def render(values):
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="acme", namespace="llm")
    objects = {}
    for path, text in files.items():
        for document in [] if path.endswith("NOTES.txt") else yaml.safe_load_all(text):
            if document:
                key = (document["kind"], document["metadata"]["name"])
                check(key not in objects, f"{key} twice")
                objects[key] = document
    return objects


def refused(values):
    try:
        render(values)
    except HelmError:
        return True
    return False


def pods(objects):
    for (kind, name), document in objects.items():
        if kind in ("Deployment", "Job"):
            yield f"{kind} {name}", document["spec"]["template"]["spec"], document["spec"]["template"]


def safe(objects):
    for name, pod, template in pods(objects):
        check(pod["automountServiceAccountToken"] is False, f"{name} has a service account's token")
        security = pod["securityContext"]
        check(security["runAsNonRoot"] and security["runAsUser"] > 0, f"{name} runs as root")
        check(security["seccompProfile"]["type"] == "RuntimeDefault", f"{name} has no seccomp profile")
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"] + pod.get("initContainers", []):
            security = container["securityContext"]
            check(security["readOnlyRootFilesystem"], f"{name} can write to its image")
            check(not security["allowPrivilegeEscalation"], f"{name} can gain privileges")
            check(security["capabilities"] == {"drop": ["ALL"]}, f"{name} has capabilities")
            check("memory" in container["resources"]["limits"], f"{name} has no memory limit")
            for mount in container["volumeMounts"]:
                check(mount["name"] in volumes, f"{name} mounts {mount['name']}, which is no volume")
        labels = template["metadata"]["labels"]
        for other, document in objects.items():
            if other[0] == "Deployment" and f"Deployment {other[1]}" == name:
                wanted = document["spec"]["selector"]["matchLabels"]
                check(wanted.items() <= labels.items(), f"{name} does not select its own pods")


def selected(objects, kind):
    """Each selector of a kind meets exactly one Deployment's pods."""
    for (found, name), document in objects.items():
        if found != kind:
            continue
        spec = document["spec"]
        wanted = spec.get("selector") or spec.get("podSelector")
        wanted = wanted.get("matchLabels", wanted)
        met = [pod for pod, _, template in pods(objects) if wanted.items() <= template["metadata"]["labels"].items()]
        check(len(met) == 1, f"{kind} {name} selects {met}")


for case, values in CASES.items():
    report = helm.lint(CHART, values, strict=True, namespace="llm", kube_version="v1.30.0")
    errors = [message for message in report["messages"] if message["severity"] >= 2]
    check(not report["errors"] and not errors, f"{case}: lint says {report['errors']} {errors}")
    objects = render(values)
    safe(objects)
    for kind in ("Service", "NetworkPolicy", "PodDisruptionBudget"):
        selected(objects, kind)
    proxy = objects["Deployment", "acme-cordon"]["spec"]
    config = yaml.safe_load(objects["ConfigMap", "acme-cordon"]["data"]["cordon.yaml"])
    check(config["store"] == "${env:DATABASE_URL}", f"{case}: the store is {config['store']}")
    check("acme-cordon.llm.svc" in config["gateway"]["names"], f"{case}: {config['gateway']}")
    check(config["log"]["format"] == "json", f"{case}: {config['log']}")
    check(config["intercept"]["other_hosts"] == "refuse", f"{case}: {config['intercept']}")
    text = yaml.safe_dump_all([document for (kind, _), document in objects.items() if kind != "Secret"])
    check("postgres://" not in text, f"{case}: the database's URL stands outside a Secret")
    mounts = {mount["mountPath"] for mount in proxy["template"]["spec"]["containers"][0]["volumeMounts"]}
    for path in (config["identity"]["keys"], config["identity"]["installation_key"], config["dir"] + "/x"):
        check(any(path.startswith(mount + "/") for mount in mounts), f"{case}: {path} lies in no volume")
    print(f"ok {case}: {len(objects)} objects")

existing, contents, gpu, elsewhere = (render(values) for values in CASES.values())

check(not any(kind == "Secret" for kind, _ in existing), "secrets are made although there are some")
check(("HorizontalPodAutoscaler", "acme-cordon") in existing, "no autoscaler")
check("replicas" not in existing["Deployment", "acme-cordon"]["spec"], "replicas are set against the autoscaler")
job = existing["Job", "acme-cordon-migration"]["metadata"]["annotations"]
check(job["helm.sh/hook"] == "pre-install,pre-upgrade", f"the migration runs {job}")
engine = existing["Deployment", "acme-cordon-engine"]["spec"]["template"]["spec"]["containers"][0]
check("nvidia.com/gpu" not in engine["resources"]["limits"], "a GPU is asked for by default")
check(existing["NetworkPolicy", "acme-cordon-engine"]["spec"]["egress"] == [], "the engine may talk to others")
config = yaml.safe_load(existing["ConfigMap", "acme-cordon"]["data"]["cordon.yaml"])
check(config["engine"]["url"] == "http://acme-cordon-engine:8080", f"the engine is at {config['engine']}")
check(("Service", "acme-cordon-engine") in existing, "the engine has no Service")
ports = [port["port"] for port in existing["Service", "acme-cordon"]["spec"]["ports"]]
check(8889 not in ports, "the admin port is offered to callers")

check(sum(kind == "Secret" for kind, _ in contents) == 4, "not every secret is made")
check(contents["Deployment", "acme-cordon"]["spec"]["replicas"] == 3, "replicas are not those asked for")
config = yaml.safe_load(contents["ConfigMap", "acme-cordon"]["data"]["cordon.yaml"])
check(config["policy"] == "/etc/cordon/policy.yaml", "the policy is not used")
check("llm.company.example" in config["gateway"]["names"], "the gateway's further names are lost")
check(config["log"] == {"level": "debug", "format": "json"}, f"{config['log']}")
check(config["gateway"]["certificate"] == "/x.pem", "the configured certificate is lost")
check(yaml.safe_load(contents["ConfigMap", "acme-cordon"]["data"]["policy.yaml"]) == {"routes": [], "rules": []}, "")

engine = gpu["Deployment", "acme-cordon-engine"]["spec"]["template"]["spec"]["containers"][0]
check(engine["resources"]["limits"]["nvidia.com/gpu"] == 2, f"{engine['resources']}")
check("--gpu-layers" in engine["args"] and "company-model" in engine["args"], f"{engine['args']}")
check("memory" in engine["resources"]["limits"], "the memory limit is lost")
check({"ports": [{"port": 6514}]} in gpu["NetworkPolicy", "acme-cordon"]["spec"]["egress"], "records are not let out")

check(("Deployment", "acme-cordon-engine") not in elsewhere, "an engine is made although there is one")
check(not any(kind == "NetworkPolicy" for kind, _ in elsewhere), "network policies are made")
config = yaml.safe_load(elsewhere["ConfigMap", "acme-cordon"]["data"]["cordon.yaml"])
check(config["engine"]["url"] == "https://models.company.example", f"{config['engine']}")

if len(sys.argv) > 2:
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(existing["ConfigMap", "acme-cordon"]["data"]["cordon.yaml"])

for wrong, values in {
    "no secrets": {},
    "an unknown key": {**EXISTING, "replcas": 3},
    "replicas of the wrong type": {**EXISTING, "replicas": "three"},
    "a key of the chart's own in config": {**EXISTING, "config": {"store": "sqlite"}},
    "too short a grace": {**EXISTING, "terminationGracePeriodSeconds": 5},
}.items():
    check(refused(copy.deepcopy(values)), f"{wrong} is accepted")
    print(f"ok refused: {wrong}")

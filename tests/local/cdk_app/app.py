"""A CDK app as the CLI sees one: a program that writes a cloud assembly (aws-cdk-lib would take seconds to load).

Two stacks with a parameter each; `stacks/content.txt` beside it is what changes.
"""

import json
import os
from pathlib import Path

content = (Path(__file__).parent / "stacks" / "content.txt").read_text().strip()
environment = json.loads(os.environ["CDK_CONTEXT_JSON"])["env"]
output = Path(os.environ["CDK_OUTDIR"])
output.mkdir(exist_ok=True)
artifacts = {}
for name in ("first", "second"):
    properties = {
        "Name": f"/{name}",
        "Type": "Nonsense" if content == "broken" else "String",
        "Value": f"{environment} {content}",
    }
    template = {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": properties}}}
    (output / f"{name}.template.json").write_text(json.dumps(template))
    artifacts[name] = {
        "type": "aws:cloudformation:stack",
        "environment": "aws://unknown-account/unknown-region",
        "properties": {"templateFile": f"{name}.template.json"},
        "displayName": name,
    }
(output / "manifest.json").write_text(json.dumps({"version": "48.0.0", "artifacts": artifacts}))

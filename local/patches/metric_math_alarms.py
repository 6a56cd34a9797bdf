"""CloudFormation: `AWS::CloudWatch::Alarm` with `Metrics` (metric math), which MiniStack refuses.

Template reference: an alarm has either `MetricName` and `Namespace` or `Metrics`. No alarm of the emulator ever fires
by itself, so one on an expression is kept as an alarm on the expression's first metric: it can be described, and set
to ALARM to see what its action does.
"""

from typing import Any

from ministack.services.cloudformation import provisioners


def apply() -> None:
    """Let the emulator make its record from the first metric."""
    record = provisioners._cw_metric_alarm_record

    def plain(name: str, properties: dict[str, Any]) -> Any:
        queries = properties.get("Metrics")
        if queries:
            stat = next(query["MetricStat"] for query in queries if "MetricStat" in query)
            properties = {**properties, **stat["Metric"], "Period": stat["Period"], "Statistic": stat["Stat"]}
            del properties["Metrics"]
        return record(name, properties)

    provisioners._cw_metric_alarm_record = plain

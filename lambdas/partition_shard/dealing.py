"""What becomes of each line of a shard: a label or a prediction for a partition, or a bad line."""

from ics.accuracy import Counts
from ics.joining import LabelRecord, RowRecord, lines_of, parse_pair, parse_prediction, parse_truth
from lambdas.evaluation import IDS, LABELS, NAMED, ROWS, Dealer, contents, listed_files

TOO_LONG = "the line is longer than 1 MiB"


def deal_files(evaluation: str, offset: int, length: int, dealer: Dealer) -> Counts:
    """Deal out all lines of a shard's files; count them, and name those that cannot be understood."""
    counts = Counts()
    files = listed_files(evaluation, offset, length)
    read = contents((file["bucket"], file["key"], file["size"]) for file in files)
    for file, ((bucket, key, _), pieces) in zip(files, read, strict=True):
        uri = f"s3://{bucket}/{key}"
        for number, line in enumerate(lines_of(pieces), 1):
            if line is None:
                counts.bad_line(uri, number, TOO_LONG)
            elif line.strip():
                try:
                    _deal(file["kind"], line, f"{uri}#{number}", dealer, counts)
                except (ValueError, TypeError, RecursionError) as error:
                    counts.bad_line(uri, number, str(error)[:200])
    return counts


def _deal(kind: str, line: bytes, name: str, dealer: Dealer, counts: Counts) -> None:
    if kind == "labels":
        _label(parse_truth(line), dealer, counts)
    elif kind == "predictions":
        row = parse_prediction(line)
        dealer.deal(IDS, row[1], row[1::-1])
        _row(row, dealer, counts)
    else:
        label, row = parse_pair(line, name)
        _label(label, dealer, counts)
        _row(row, dealer, counts)


def _label(record: LabelRecord, dealer: Dealer, counts: Counts) -> None:
    uri, image_id, *_ = record
    dealer.deal(NAMED if image_id else LABELS, image_id or uri, record)
    counts.label_lines += 1


def _row(record: RowRecord, dealer: Dealer, counts: Counts) -> None:
    dealer.deal(ROWS, record[0], record)
    counts.prediction_lines += 1
    if record[3]:
        counts.rows[record[3]] += 1

"""What a table's figures must be, calculated without the application, and the mail as a mail program reads it."""

from __future__ import annotations

import csv
import email
import email.policy
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from email.message import EmailMessage
from pathlib import Path

from example_apps.demonstration.processes import DemoFailed

Expected = tuple[str, str, int, Path]  # owner, title, rows, file


def expected_figures(file: Path) -> dict[str, list[str]]:
    """Of each column the texts that its page must show. Exact arithmetic, where the application uses floats."""
    with file.open(newline="") as lines:
        table = list(csv.DictReader(lines))
    return {name: _figures([row[name] for row in table]) for name in table[0]}


def _figures(cells: list[str]) -> list[str]:
    given = [cell for cell in cells if cell.strip()]
    try:
        numbers = sorted(Decimal(cell) for cell in given)
    except ArithmeticError:
        if len(set(given)) == len(given):
            return ["all different"]
        most = sorted(Counter(given).items(), key=lambda pair: (-pair[1], pair[0]))[0]
        return [f"{len(set(given))} different", f"{most[0]} ({most[1]})"]
    mean = sum(numbers) / len(numbers)
    middle = (numbers[(len(numbers) - 1) // 2] + numbers[len(numbers) // 2]) / 2
    deviation = (sum((each - mean) ** 2 for each in numbers) / (len(numbers) - 1)).sqrt()
    return [f"<td>{_shown(each)}</td>" for each in (numbers[0], middle, mean, numbers[-1], deviation)]


def _shown(number: Decimal) -> str:
    """Two digits after the point, or none where there is nothing after it."""
    rounded = number.quantize(Decimal("0.01"), ROUND_HALF_UP)
    return str(int(number)) if number == int(number) else str(rounded)


def check_mail(folder: Path, expected: Sequence[Expected]) -> dict[str, int]:
    """How many mails each address got. Raises DemoFailed unless there is one for each table, right in every part."""
    mails = mails_in(folder)
    wanted = Counter((f"{owner}@example.org", f"{title}: {rows} rows imported") for owner, title, rows, _ in expected)
    found = Counter((str(mail["To"]), str(mail["Subject"])) for mail in mails)
    if found != wanted:
        raise DemoFailed(f"the mails are {dict(found)}, and should be {dict(wanted)}")
    files = {title: file for _, title, _, file in expected}
    for mail in mails:
        _check_body(mail, files[str(mail["Subject"]).partition(":")[0]])
    counts: dict[str, int] = defaultdict(int)
    for mail in mails:
        counts[str(mail["To"])] += 1
    return dict(counts)


def mails_in(folder: Path) -> list[EmailMessage]:
    """All of them. A file may hold several, each followed by a line of dashes."""
    texts = [text for file in sorted(folder.glob("*.log")) for text in file.read_text().split("-" * 79 + "\n")]
    return [email.message_from_string(text, policy=email.policy.default) for text in texts if text.strip()]


def _check_body(mail: EmailMessage, file: Path) -> None:
    body = mail.get_content()
    with file.open(newline="") as lines:
        table = list(csv.DictReader(lines))
    for name in table[0]:
        cells = [row[name] for row in table if row[name].strip()]
        if f"{name}: {len(cells)} values, {len(table) - len(cells)} missing" not in body:
            raise DemoFailed(f"the mail about {file.name} does not say how many values {name} has:\n{body}")

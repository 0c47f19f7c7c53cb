import os

from django_fnqueue import fn


@fn.task(name="note")
def note(text: str) -> None:
    """One whole line in a file that knows nothing of queues."""
    file = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{text}\n".encode())
    os.close(file)

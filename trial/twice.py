"""A nuisance on the bus: it says everything once more that nodes say to each other."""

from nats.aio.client import Client
from nats.aio.msg import Msg


class Echo:
    """start() and stop(). It does not hear itself, so twice it is, and not for ever."""

    def __init__(self, url: str, subject: str = "whimbrel") -> None:
        self.url = url
        self.subject = subject
        self.count = 0
        self._client = Client()

    async def start(self) -> None:
        await self._client.connect(self.url, no_echo=True)
        await self._client.subscribe(f"{self.subject}.>", cb=self._again)

    async def _again(self, message: Msg) -> None:
        if not self._client.is_closed:
            self.count += 1
            await self._client.publish(message.subject, message.data)

    async def stop(self) -> None:
        await self._client.close()

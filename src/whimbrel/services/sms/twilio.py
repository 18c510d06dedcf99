"""PINs through Twilio: one form posted to its Messages resource.

https://www.twilio.com/docs/messaging/api/message-resource. `sender` is a number in E.164 form
or the id of a messaging service ("MG...").
"""

import aiohttp

from whimbrel.services.sms.delivery import Delivery

API = "https://api.twilio.com"
CREATED = frozenset({200, 201})


class TwilioSender:
    name = "twilio"

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        sender: str,
        text: str,
        delivery: Delivery,
        api: str = API,
    ) -> None:
        self._url = f"{api.rstrip('/')}/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._headers = {"Authorization": aiohttp.encode_basic_auth(account_sid, auth_token)}
        self._sender = sender
        self._text = text
        self._delivery = delivery

    async def send(self, number: str, pin: str) -> None:
        source = "MessagingServiceSid" if self._sender.startswith("MG") else "From"
        form = {"To": number, source: self._sender, "Body": self._text.replace("{pin}", pin)}
        await self._delivery.request(
            "POST", self._url, good=CREATED, headers=self._headers, data=form
        )

    async def close(self) -> None:
        await self._delivery.close()

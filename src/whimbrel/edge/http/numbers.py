"""Telephone numbers as people write them, made E.164.

Only numbers that can receive a text message pass: valid in their country and mobile, or of a
country that does not tell mobile from fixed ones (North America).
"""

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from whimbrel.domain.errors import BadNumber

CHARS_MAX = 64
CAN_RECEIVE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


def parse_number(text: str, default_region: str = "") -> tuple[str, str]:
    """(E.164, its country's prefix): ("+4915112345678", "+49"). Raises BadNumber."""
    if len(text) > CHARS_MAX:
        raise BadNumber("A telephone number is not that long.")
    try:
        number = phonenumbers.parse(text, default_region or None)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            raise BadNumber(
                "Write the number with its country code, like +49 1511 2345678."
            ) from None
        raise BadNumber("This is not a telephone number.") from None
    if number.extension:
        raise BadNumber("A number with an extension cannot receive a PIN.")
    if not phonenumbers.is_possible_number(number) or not phonenumbers.is_valid_number(number):
        raise BadNumber("There is no such telephone number. Check the digits.")
    if phonenumbers.number_type(number) not in CAN_RECEIVE:
        raise BadNumber("A PIN can only be sent to a mobile number.")
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return e164, f"+{number.country_code}"

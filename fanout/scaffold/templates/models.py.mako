"""Responses of the API of ${name}."""

from datetime import datetime

from pydantic import BaseModel
% for row in rows:


class ${row.response}(BaseModel):
% for column, type in row.columns.items():
    ${column}: ${python_types[type]}
% endfor
    occurred_at: datetime
% endfor

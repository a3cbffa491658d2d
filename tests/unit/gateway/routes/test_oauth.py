"""The callback page for answers that belong to nothing; whole logins are in
tests/contract/test_logins.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.gateway.conftest import Start


@pytest.mark.parametrize(
    "query", ["", "?code=c", "?state=s", "?code=c&state=unknown", "?error=access_denied"]
)
async def test_an_answer_to_no_login_gets_a_page_that_says_so(
    start_gateway: Start, tmp_path: Path, query: str
) -> None:
    running = await start_gateway(server={"run_dir": str(tmp_path)})
    response = await running.client.get(f"/oauth/callback{query}")
    assert response.status_code == 400
    assert "Not logged in" in response.text
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["referrer-policy"] == "no-referrer"

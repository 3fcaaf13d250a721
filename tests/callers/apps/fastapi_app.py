"""The shop with FastAPI on uvicorn: coroutines of many requests in turns on one thread, and handlers on threads."""

import asyncio
import socket

import shop
import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/control/{what}")
def control(what):
    """Runs on a thread, since flushing waits."""
    return shop.control(what)


@app.get("/{what}/{item}")
async def answer(what, item):
    """Lets others take their turn before, and does its work on a thread every other time."""
    await asyncio.sleep(0)
    if item.endswith(("0", "2", "4", "6", "8")):
        return await asyncio.to_thread(shop.answer, what, item)
    return shop.answer(what, item)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)  # noqa: T201 - the tests read it
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listener])

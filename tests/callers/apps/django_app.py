"""The shop with Django, as WSGI on threads."""

import socketserver
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import shop
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

urlpatterns = [
    path("control/<what>", lambda _request, what: JsonResponse(shop.control(what))),
    path("<what>/<item>", lambda _request, what, item: JsonResponse(shop.answer(what, item))),
]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each request, none of which it waits for."""

    daemon_threads = True


class Handler(WSGIRequestHandler):
    """Writes no line for each request."""

    def log_message(self, *_):
        """Writes nothing."""


if __name__ == "__main__":
    shop.serve_forever(make_server("127.0.0.1", 0, get_wsgi_application(), Server, Handler))

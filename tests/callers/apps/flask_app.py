"""The shop with Flask, on threads."""

import shop
from flask import Flask
from werkzeug.serving import make_server

app = Flask("shop")
app.add_url_rule("/<what>/<item>", "answer", shop.answer)
app.add_url_rule("/control/<what>", "control", shop.control)

if __name__ == "__main__":
    shop.serve_forever(make_server("127.0.0.1", 0, app, threaded=True))

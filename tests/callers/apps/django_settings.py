"""The least that Django asks for."""

SECRET_KEY = "only for tests"  # noqa: S105 - protects nothing
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "django_app"
MIDDLEWARE = []

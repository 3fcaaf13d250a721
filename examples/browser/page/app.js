"use strict";

// The shop. It knows nothing of telemetry: what it does is seen by the instrumentations that telemetry.js starts.

const ITEMS = "/api/items?token=secret123"; // the gateway takes secrets out of URLs
const AWAY = "http://127.0.0.1:9/nope"; // no browser connects to this port

const ACTIONS = {
  items: () => ask(ITEMS),
  missing: () => ask("/api/missing"),
  boom: () => ask("/api/boom", { method: "POST" }),
  away: () => ask(AWAY),
  xhr: loadByXmlHttpRequest,
  product: () => go("/products/42?ref=home"),
  cart: () => go("/cart#top"),
  warn: () => console.warn("low stock"),
  throw: () => setTimeout(() => null.foo),
  "throw-text": () => setTimeout(() => { throw "a string error"; }),
  reject: () => { Promise.reject(new TypeError("rejected promise")); },
};

async function act(name) {
  document.getElementById("done").append(entry(document.getElementById(name).textContent));
  await ACTIONS[name]();
}

async function ask(url, options) {
  try {
    return await fetch(url, options);
  } catch {
    return null; // nobody answered
  }
}

function loadByXmlHttpRequest() {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.addEventListener("loadend", resolve);
    request.open("GET", "/api/items");
    request.send();
  });
}

async function buy() {
  const answer = await ask("/api/items?from=click");
  const left = answer ? (await answer.json())["42"].left : "who knows how many";
  document.getElementById("stock").textContent = `Bought. ${left} are left.`;
}

function go(path) {
  history.pushState(null, "", path);
  showWhere();
}

function showWhere() {
  for (const link of document.querySelectorAll("nav a")) {
    link.toggleAttribute("aria-current", link.pathname === location.pathname);
  }
}

function entry(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

for (const name of Object.keys(ACTIONS)) {
  document.getElementById(name).addEventListener("click", () => act(name));
}
document.getElementById("buy").addEventListener("click", buy);
addEventListener("popstate", showWhere);
for (const link of document.querySelectorAll("nav a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    go(link.href);
  });
}
showWhere();

// A visit of examples/browser's page in Chromium, as the captures of aws-rum-web have it: everything once, two clicks.
//
//   node visit.mjs CHROMIUM ORIGIN CALLS [SCREENSHOT]
//
// Leaves the page when spans of so many calls were taken, or could not be posted: instrumentations hold a span until the
// browser's timing of its call is known. Prints what became of what was posted until then, as JSON: statuses, and the
// browser's reason where there is none. What the page posts when it is left is on its way then, and the browser stays
// until the input ends.

import { chromium } from "playwright-core";

const [, , executablePath, origin, calls, screenshot] = process.argv;
const QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"];
const SUCCEEDING = ["items", "missing", "boom", "away", "xhr", "product", "cart", "warn"];
const THROWING = ["throw", "throw-text", "reject"];
const PATIENCE_MS = 60_000;

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", ...QUIET] });
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const posts = watched(page);
  await visit(page, posts);
  const printed = JSON.stringify({ statuses: posts.statuses });
  await page.goto("about:blank");
  console.log(printed);
  for await (const _ of process.stdin);
} finally {
  await browser.close();
}

async function visit(page, posts) {
  await page.goto(`${origin}/shop`, { waitUntil: "networkidle" });
  for (const name of SUCCEEDING) await page.evaluate((action) => act(action), name);
  for (const name of THROWING) {
    const thrown = page.waitForEvent("pageerror");
    await page.evaluate((action) => void act(action), name);
    await thrown;
  }
  await page.click("#buy");
  await page.getByText("Bought").waitFor();
  await page.click("#h");
  await page.waitForFunction(() => performance.getEntriesByType("first-input").length);
  if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });
  await posts.ofCalls(Number(calls));
}

/** What became of the page's OTLP requests; `ofCalls` waits until so many spans were taken, or could not be posted. */
function watched(page) {
  const statuses = [];
  let spans = 0;
  let changed = () => {};
  const note = (request, outcome) => {
    if (request.method() !== "POST" || !request.url().includes("/v1/")) return;
    statuses.push(outcome);
    if (!(outcome >= 400)) spans += spansOf(JSON.parse(request.postData())); // the others come again
    changed();
  };
  page.on("response", (response) => note(response.request(), response.status()));
  page.on("requestfailed", (request) => note(request, request.failure().errorText));
  return {
    statuses,
    ofCalls(count) {
      return new Promise((resolve, reject) => {
        changed = () => spans >= count && resolve();
        changed();
        setTimeout(() => reject(new Error(`${spans} of ${count} spans: ${statuses}`)), PATIENCE_MS).unref();
      });
    },
  };
}

function spansOf(body) {
  return (body.resourceSpans ?? []).flatMap((each) => each.scopeSpans).flatMap((each) => each.spans).length;
}

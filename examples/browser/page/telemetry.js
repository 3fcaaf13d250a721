// OpenTelemetry in the browser: log events of the page and spans of its calls, all with their session and page, to the
// gateway. The bundler puts GATEWAY_URL and BROWSER_TOKEN in.

import { ConsoleInstrumentation } from "@opentelemetry/browser-instrumentation/experimental/console";
import { ErrorsInstrumentation } from "@opentelemetry/browser-instrumentation/experimental/errors";
import { NavigationInstrumentation } from "@opentelemetry/browser-instrumentation/experimental/navigation";
import { NavigationTimingInstrumentation } from "@opentelemetry/browser-instrumentation/experimental/navigation-timing";
import { ResourceTimingInstrumentation } from "@opentelemetry/browser-instrumentation/experimental/resource-timing";
import { UserActionInstrumentation } from "@opentelemetry/browser-instrumentation/experimental/user-action";
import { WebVitalsInstrumentation } from "@opentelemetry/browser-instrumentation/experimental/web-vitals";
import { startBrowserSdk } from "@opentelemetry/browser-sdk";
import {
  createDocumentLogRecordProcessor,
  createDocumentSpanProcessor,
  createLocationDocumentProvider,
} from "@opentelemetry/browser-sdk/document";
import {
  createLocalStorageSessionStore,
  createSessionLogRecordProcessor,
  createSessionManager,
  createSessionSpanProcessor,
} from "@opentelemetry/browser-sdk/session";
import { registerInstrumentations } from "@opentelemetry/instrumentation";
import { FetchInstrumentation } from "@opentelemetry/instrumentation-fetch";
import { XMLHttpRequestInstrumentation } from "@opentelemetry/instrumentation-xml-http-request";

const TRACES = `${GATEWAY_URL}/v1/traces`;
const LOGS = `${GATEWAY_URL}/v1/logs`;
const OWN_REQUESTS = { ignoreUrls: [TRACES, LOGS] };
// public, as all is that a page carries: bound to this page's origin, and good for nothing but writing
const HEADERS = { "x-api-key": BROWSER_TOKEN };
const DEVICE = navigator.userAgentData; // not in each browser
// of browser, system and device the SDK says nothing by itself
const BROWSER = {
  "browser.brands": DEVICE?.brands.map(({ brand, version }) => `${brand} ${version}`) ?? [],
  "browser.language": navigator.language,
  "browser.mobile": DEVICE?.mobile ?? false,
  "browser.platform": DEVICE?.platform ?? navigator.platform,
  "user_agent.original": navigator.userAgent,
};

async function start() {
  const session = createSessionManager({
    sessionIdGenerator: { generateSessionId: () => crypto.randomUUID() },
    sessionStore: createLocalStorageSessionStore(),
    maxDuration: 4 * 60 * 60,
    inactivityTimeout: 30 * 60,
  });
  await session.start();
  const page = createLocationDocumentProvider();
  startBrowserSdk({
    serviceName: "browser-shop",
    serviceVersion: "1.2.3",
    resourceAttributes: BROWSER,
    logs: {
      processors: [createSessionLogRecordProcessor(session), createDocumentLogRecordProcessor(page)],
      exportConfig: { url: LOGS, headers: HEADERS },
    },
    traces: {
      processors: [createSessionSpanProcessor(session), createDocumentSpanProcessor(page)],
      exportConfig: { url: TRACES, headers: HEADERS },
      batchProcessorConfig: { scheduledDelayMillis: 1000 }, // as the logs; the default is 5 s
    },
  });
  registerInstrumentations({
    instrumentations: [
      new ConsoleInstrumentation({ logMethods: ["warn", "error"] }),
      new ErrorsInstrumentation(),
      new FetchInstrumentation(OWN_REQUESTS),
      new NavigationInstrumentation(),
      new NavigationTimingInstrumentation(),
      new ResourceTimingInstrumentation(OWN_REQUESTS),
      new UserActionInstrumentation(),
      new WebVitalsInstrumentation({ includeRawAttribution: true }),
      new XMLHttpRequestInstrumentation(OWN_REQUESTS),
    ],
  });
}

start();

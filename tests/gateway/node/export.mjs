// OpenTelemetry's exporters for OTLP/HTTP in JSON, as a Node application has them.
//
//   node export.mjs URL TOKEN COMPRESSION SPANS LOGS STRANGERS
//
// Exports so many spans and log events of one session, in one request each, and among the spans some of no session.
// Prints the outcomes, and what the exporters said meanwhile, as JSON.

import { diag, DiagLogLevel, SpanKind } from "@opentelemetry/api";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

const [, , url, token, compression, spans, logs, strangers] = process.argv;
const SESSION = { "session.id": "3b7f7c1e-52a7-4a7e-9d0e-0a4b1d6c2f55" };
const resource = resourceFromAttributes({ "service.name": "node-client" });
const said = [];
const note = (...words) => said.push(words.join(" "));
diag.setLogger({ error: note, warn: note, info: note, debug() {}, verbose() {} }, { logLevel: DiagLogLevel.INFO });

const settings = (path) => ({ url: `${url}/v1/${path}`, headers: { authorization: `Bearer ${token}` }, compression });
const outcomes = {
  traces: await exported(new OTLPTraceExporter(settings("traces")), await someSpans()),
  logs: await exported(new OTLPLogExporter(settings("logs")), await someLogs()),
};
console.log(JSON.stringify({ outcomes, said }));

async function someSpans() {
  const memory = new InMemorySpanExporter();
  const provider = new TracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor({ exporter: memory })] });
  const tracer = provider.getTracer("node-client");
  for (let index = 0; index < Number(spans) + Number(strangers); index++) {
    const attributes = {
      "http.request.method": "GET",
      "http.response.status_code": 200,
      "url.full": `http://shop.example/${index}`,
      ...(index < Number(spans) ? SESSION : {}),
    };
    tracer.startSpan("GET", { kind: SpanKind.CLIENT, attributes }).end();
  }
  await provider.forceFlush();
  return memory.getFinishedSpans();
}

async function someLogs() {
  const memory = new InMemoryLogRecordExporter();
  const provider = new LoggerProvider({ resource, processors: [new SimpleLogRecordProcessor({ exporter: memory })] });
  const logger = provider.getLogger("node-client");
  for (let index = 0; index < Number(logs); index++) {
    logger.emit({ eventName: "cart.checkout", attributes: { "cart.items": index, ...SESSION } });
  }
  await provider.forceFlush();
  return memory.getFinishedLogRecords();
}

function exported(exporter, items) {
  return new Promise((resolve) => {
    exporter.export(items, ({ code, error }) => resolve(code === 0 ? "success" : String(error)));
  });
}

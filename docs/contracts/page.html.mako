<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${doc["info"]["title"]}: contracts</title>
<style>
:root { --ink: #1d2329; --faint: #57606a; --line: #d0d7de; --page: #ffffff; --box: #f6f8fa; --link: #0a58ca; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --faint: #9aa4ae; --line: #3a424b; --page: #14181c; --box: #1d2329; --link: #7db4ff; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 3rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2.25rem; }
h4 { margin: 1.25rem 0 .25rem; font-size: 1rem; }
a { color: var(--link); }
code, pre { font: .875em/1.45 ui-monospace, monospace; }
pre { margin: .25rem 0; padding: .75rem; overflow-x: auto; background: var(--box); border: 1px solid var(--line);
  border-radius: 4px; }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9375em; }
th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--faint); font-weight: 600; }
.wide code { white-space: nowrap; }
.fields code { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .5rem 0 1rem; }
dt { color: var(--faint); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.examples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 1rem; }
.examples > div { min-width: 0; }
.narrow { display: none; }
.faint { color: var(--faint); }
@media (max-width: 40rem) {
  .wide table { min-width: 36rem; }
  .narrow { display: inline; }
  .fields thead { display: none; }
  .fields tr { display: block; padding: .4rem 0; border-bottom: 1px solid var(--line); }
  .fields td { display: block; padding: 0; border: 0; }
}
@media print {
  :root { --ink: #000000; --faint: #444444; --line: #bbbbbb; --page: #ffffff; --box: #ffffff; --link: #000000; }
  body { max-width: none; padding: 0; font-size: 9pt; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .wide { overflow: visible; }
  .wide code { white-space: normal; overflow-wrap: anywhere; }
  .examples { grid-template-columns: 1fr 1fr; }
  h2 { margin-top: 1.5rem; }
  h2, h3, h4 { break-after: avoid; }
  tr, pre, dl { break-inside: avoid; }
}
</style>
</head>
<body>
<h1>${doc["info"]["title"]}: contracts</h1>
% for paragraph in doc["info"]["description"].strip().split("\n\n"):
<p>${prose(paragraph) | n}</p>
% endfor
<p class="faint">Version ${doc["info"]["version"]}, written by <code>make docs</code> from
<a href="asyncapi.yaml">asyncapi.yaml</a> (AsyncAPI ${doc["asyncapi"]}) and the OpenAPI documents
% for service in apis:
<a href="openapi/${service}.json">${service}</a>${"." if loop.last else ","}
% endfor
</p>

<h2 id="events">Events</h2>
<div class="wide"><table>
<thead><tr><th>event</th><th>topic</th><th>published by</th><th>handled by</th></tr></thead>
<tbody>
% for topic in topics:
% for event in topic.events:
<tr><td><a href="#${event.name}">${event.name}</a></td><td><a href="#topic-${topic.name}">${topic.name}</a></td>\
<td>${", ".join(topic.publishers)}</td><td>${", ".join(event.listeners) or "nobody"}</td></tr>
% endfor
% endfor
</tbody>
</table></div>
<p>Also: <a href="#headers">headers of every event</a>, <a href="#dead-letters">dead letters</a>,
<a href="#servers">servers</a>, <a href="#http">HTTP APIs</a>.</p>
% for topic in topics:

<h2 id="topic-${topic.name}">Topic ${topic.name}</h2>
<dl>
<dt>published by</dt><dd>${", ".join(topic.publishers) or "nobody"}</dd>
<dt>partitions</dt><dd>${topic.partitions}</dd>
<dt>kept for</dt><dd>${topic.retention}</dd>
</dl>
% if topic.listeners:
<div class="wide"><table>
<thead><tr><th>who listens</th><th>handler of each event</th><th>dead letters</th><th>redriven</th></tr></thead>
<tbody>
% for listener in topic.listeners:
<tr><td>${listener.service}</td><td>
% for event, handler in listener.handlers.items():
<a href="#${event}">${event}</a>: <code>${handler}</code>${"" if loop.last else ","}
% endfor
</td><td><code>${listener.dead_letter_topic}</code></td><td><code>${listener.redrive_topic}</code></td></tr>
% endfor
</tbody>
</table></div>
% else:
<p>Nobody listens.</p>
% endif
% for event in topic.events:
<% message, example = event.message, event.message["examples"][0] %>
<h3 id="${event.name}">${event.name}</h3>
<p>${prose(message["summary"]) | n}</p>
<dl>
<dt>handled by</dt><dd>${", ".join(event.listeners) or "nobody"}</dd>
<dt>key</dt><dd><code>${event.key}</code></dd>
<dt>subject</dt><dd><code>${message["x-subject"]}</code></dd>
<dt>versions</dt><dd>
% for version in message["x-versions"]:
<a href="../${version["schema"]}">${version["version"]}</a>${", the newest" if loop.last else ","}
% endfor
</dd>
<dt>content type</dt><dd><code>${message["contentType"]}</code></dd>
</dl>
<table class="fields">
<thead><tr><th>field</th><th>type</th><th>default</th><th>meaning</th></tr></thead>
<tbody>
% for field in event.fields:
<tr><td><code>${field.path}</code></td><td>${field.type}</td>\
<td>\
% if field.default:
<span class="narrow">default </span><code>${field.default}</code>\
% endif
</td><td>${prose(field.doc) | n}</td></tr>
% endfor
</tbody>
</table>
<div class="examples">
<div><h4>Example</h4><pre>${as_json(example["payload"])}</pre></div>
<div><h4><a href="#headers">Headers</a></h4><pre>${as_json(example["headers"])}</pre></div>
</div>
% endfor
% endfor

<h2 id="headers">Headers of every event</h2>
<p>CloudEvents 1.0 in Kafka's binary mode, and the W3C trace context. All values are UTF-8 text.</p>
<div class="wide"><table>
<thead><tr><th>header</th><th>always</th><th>meaning</th></tr></thead>
<tbody>
% for name, constant, meaning in headers:
<tr><td><code>${name}</code></td><td>${constant}</td><td>${prose(meaning) | n}</td></tr>
% endfor
</tbody>
</table></div>

<h2 id="dead-letters">Dead letters</h2>
% for message in dead_letters:
<h3 id="${message["name"]}">${message["title"]}</h3>
<p>${prose(message["summary"]) | n} ${prose(message["description"]) | n}</p>
<div class="wide"><table>
<thead><tr><th>header</th><th>meaning</th></tr></thead>
<tbody>
% for name, _, meaning in headers_of(message["headers"]):
<tr><td><code>${name}</code></td><td>${prose(meaning) | n}</td></tr>
% endfor
</tbody>
</table></div>
% endfor

<h2 id="servers">Servers</h2>
<div class="wide"><table>
<thead><tr><th>server</th><th>Kafka</th><th>schema registry</th><th>where</th></tr></thead>
<tbody>
% for name, server in doc["servers"].items():
<tr><td>${name}</td><td><code>${server["host"]}</code></td>\
<td><code>${server["bindings"]["kafka"]["schemaRegistryUrl"]}</code></td><td>${prose(server["summary"]) | n}</td></tr>
% endfor
</tbody>
</table></div>

<h2 id="http">HTTP APIs</h2>
% for service, routes in apis.items():
<h3 id="http-${service}">${service}</h3>
<div class="wide"><table>
<thead><tr><th>request</th><th>what it does</th><th>parameters</th><th>body</th><th>answer</th></tr></thead>
<tbody>
% for route in routes:
<tr><td><code>${route.method} ${route.path}</code></td><td>${prose(route.purpose) | n}</td><td>${route.parameters}</td>\
<td>${route.body}</td><td>${route.answer}</td></tr>
% endfor
</tbody>
</table></div>
% endfor
</body>
</html>

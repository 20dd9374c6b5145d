"use strict";
const GAINS = { exaggeration: "Exaggeration", head: "Head", gaze: "Gaze" };
const POLL_MS = 500;
const element = id => document.getElementById(id);
const sliders = new Map();
let sending = null, waiting = {};

function slider(parent, name, title, low, high, rest, change) {
    const label = document.createElement("label"), input = document.createElement("input");
    const shown = document.createElement("output");
    Object.assign(input, { type: "range", min: low, max: high, step: 0.01, value: rest, name });
    input.addEventListener("input", () => { shown.value = Number(input.value).toFixed(2); change(Number(input.value)); });
    shown.value = Number(rest).toFixed(2);
    label.append(title, input, shown);
    parent.append(label);
    sliders.set(name, { input, shown });
}

// One request at a time: what is moved meanwhile goes into the next one.
function send(change) {
    const units = { ...waiting.units, ...change.units };
    waiting = { ...waiting, ...change, ...(Object.keys(units).length ? { units } : {}) };
    sending ??= (async () => {
        while (Object.keys(waiting).length) {
            const body = JSON.stringify(waiting);
            waiting = {};
            const answer = await fetch("controls", { method: "POST", headers: { "Content-Type": "application/json" }, body });
            if (answer.ok) show(await answer.json());
        }
    })().catch(() => {}).finally(() => { sending = null; });
}

function place(name, value) {
    const { input, shown } = sliders.get(name);
    if (document.activeElement === input && sending) return;
    input.value = value;
    shown.value = Number(value).toFixed(2);
}

function show(state) {
    if (!element("units").childElementCount) {
        for (const name of state.names) slider(element("units"), name, name, -1, 1, 0, value => send({ units: { [name]: value } }));
    }
    element("message").textContent = state.message;
    for (const name of Object.keys(GAINS)) place(name, state.settings[name]);
    for (const name of state.names) place(name, state.settings.units[name] ?? 0);
    element("meters").tBodies[0].replaceChildren(...state.meters.map(row => {
        const line = document.createElement("tr");
        const pair = what => `${row[`${what}_p50_ms`].toFixed(0)} / ${row[`${what}_p95_ms`].toFixed(0)}`;
        for (const text of [row.stage, row.frames_in, row.frames_out, row.dropped, row.rate_hz.toFixed(1), pair("work"), pair("age")]) {
            line.insertCell().textContent = text;
        }
        return line;
    }));
    document.body.dataset.state = "ready";
}

async function poll() {
    try {
        const answer = await fetch("state");
        if (answer.ok) show(await answer.json());
        else throw new Error(answer.status);
        if (!element("stream").src) element("stream").src = "stream";
    } catch {
        element("message").textContent = "The program has ended.";
        element("stream").removeAttribute("src");
    }
    setTimeout(poll, POLL_MS);
}

for (const [name, title] of Object.entries(GAINS)) slider(element("gains"), name, title, 0, 3, 1, value => send({ [name]: value }));
element("reset").addEventListener("click", () => send({ reset: true }));
poll();

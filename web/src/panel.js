// The controls at the side.

const GROUPS = [
  ["Jaw and mouth", /^(jaw|mouth|tongue)/],
  ["Eyes", /^eye/],
  ["Brows, cheeks, nose", /^(brow|cheek|nose)/],
];

/** Build the panel; `on` is called for whatever is changed. Returns ways to show what changed otherwise. */
export function buildPanel(panel, { names, motion, turnable, accessories }, on) {
  const sliders = {};
  const play = motion && addMotion(panel, motion, on, sliders);
  const webcam = button("Use the webcam", on.webcam);
  group(panel, "Head", true).append(
    webcam,
    button("Reset", on.reset),
    ...["yaw", "pitch", "roll"].map((name) => (sliders[name] = slider(name, -60, 60, 1, 0, (v) => on.turn(name, v))).label),
  );
  const light = group(panel, "Light", true);
  if (turnable) light.append(slider("turn", -180, 180, 1, 0, on.lightTurn).label);
  light.append(slider("brightness", 0, 2, 0.01, 1, on.brightness).label);
  group(panel, "Accessories", true).append(
    ...accessories.map((name) => checkbox(name, false, (shown) => on.accessory(name, shown))),
  );
  for (const [title, pattern] of GROUPS) {
    const chosen = names.filter((name) => pattern.test(name));
    if (!chosen.length) continue;
    const rows = chosen.map((name) => (sliders[name] = slider(name, 0, 1, 0.01, 0, (v) => on.weight(name, v))).label);
    group(panel, title, title === GROUPS[0][0]).append(...rows);
  }
  panel.hidden = false;
  return {
    show(values, playing = false) {
      if (play) play.textContent = playing ? "Pause" : "Play";
      for (const [name, value] of Object.entries(values)) if (sliders[name]) sliders[name].input.value = value;
    },
    webcam(running) {
      webcam.textContent = running ? "Stop the webcam" : "Use the webcam";
    },
  };
}

function addMotion(panel, motion, on, sliders) {
  const play = button("Play", () => on.play(!motion.playing));
  sliders.time = slider("time (s)", 0, motion.duration, 0.01, 0, on.seek);
  group(panel, "Recorded motion", true).append(play, checkbox("loop", motion.loop, on.loop), sliders.time.label);
  return play;
}

function group(panel, title, open) {
  const details = document.createElement("details");
  details.open = open;
  const summary = document.createElement("summary");
  summary.textContent = title;
  details.append(summary);
  panel.append(details);
  return details;
}

function button(text, pressed) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", pressed);
  return made;
}

function slider(name, min, max, step, value, moved) {
  const input = document.createElement("input");
  Object.assign(input, { type: "range", min, max, step, value, name });
  input.addEventListener("input", () => moved(Number(input.value)));
  const label = document.createElement("label");
  label.append(name, input);
  return { input, label };
}

function checkbox(name, checked, changed) {
  const input = document.createElement("input");
  Object.assign(input, { type: "checkbox", checked, name });
  input.addEventListener("change", () => changed(input.checked));
  const label = document.createElement("label");
  label.append(name, input);
  return label;
}

// The page: what drives the head, what the network paints, what is drawn; once a frame.
import { Viewer } from "./viewer.js";

const message = document.getElementById("message");
message.textContent = "Loading …";
try {
  const viewer = await Viewer.open(document);
  message.textContent = "";
  viewer.run();
  window.headstudio = viewer; // for scripts around the page, which may wait for the mark below
  document.body.dataset.state = "ready";
} catch (error) {
  message.textContent = error.message;
  document.body.dataset.state = "failed";
  throw error;
}

// Puts the page into the document; what is wrong before that is said in plain text.
import { render } from "preact";
import { App, applyTheme } from "./app";
import { begin } from "./session";
import "./fonts.css";
import "./style.css";

applyTheme();
const root = document.getElementById("page");
if (root) {
  begin()
    .then(() => render(<App />, root))
    .catch(() => {
      root.textContent = "This page was published without its config.json. Publish it again: ics publish";
    });
}

// A small chart: an area under a curve, in SVG, made without markup. Nothing of it is interactive.

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 300, HEIGHT = 58;
const ROOM_MIN = 60, ROOM_MAX = 300; // seconds

export class Chart {
  /** @param {string} name what it shows, for who does not see it @param {string} kind a class */
  constructor(name, kind = "") {
    this.name = name;
    this.node = document.createElementNS(SPACE, "svg");
    this.node.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.node.setAttribute("preserveAspectRatio", "none");
    this.node.setAttribute("class", `chart ${kind}`);
    this.node.setAttribute("role", "img");
    this.area = this.node.appendChild(document.createElementNS(SPACE, "path"));
    this.area.setAttribute("class", "area");
    this.curve = this.node.appendChild(document.createElementNS(SPACE, "path"));
    this.curve.setAttribute("class", "curve");
  }

  /** The newest at the right edge; at least a minute wide, at most five. @param {number[]} values @param {(n: number) => string} say */
  show(values, say) {
    const shown = values.slice(-ROOM_MAX);
    const room = Math.max(ROOM_MIN, shown.length);
    const top = Math.max(...shown, 0);
    const last = shown.at(-1) ?? 0;
    this.node.setAttribute("aria-label", `${this.name}: now ${say(last)}, at most ${say(top)} in five minutes`);
    if (shown.length < 2) {
      this.area.setAttribute("d", "");
      this.curve.setAttribute("d", "");
      return;
    }
    const step = WIDTH / (room - 1);
    const points = shown.map((value, n) => {
      const x = WIDTH - (shown.length - 1 - n) * step;
      const y = top ? HEIGHT - 2 - (value / top) * (HEIGHT - 8) : HEIGHT - 2;
      return `${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    const line = `M${points.join("L")}`;
    this.curve.setAttribute("d", line);
    const left = points[0].split(" ")[0];
    this.area.setAttribute("d", `${line}L${WIDTH} ${HEIGHT}L${left} ${HEIGHT}Z`);
  }
}

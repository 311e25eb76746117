"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const columns = data.columns || [], rows = data.rows || [], keys = data.keys || [];
  const entries = data.entries || [], means = data.means || [];
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 8; // cards that are added at a time

  // ---------------------------------------------------------------- small makers
  // Texts of the evaluation are foreign: they become text nodes or attribute values, never markup.
  function fill(element, properties, children) {
    for (const [name, value] of Object.entries(properties)) {
      if (value === null || value === undefined || value === false) continue;
      element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const make = (tag, properties = {}, ...children) =>
    fill(document.createElement(tag), properties, children);
  const draw = (tag, properties = {}, ...children) =>
    fill(document.createElementNS(SVG, tag), properties, children);
  const color = (row) => `--row: var(--c${Math.max(0, rows.indexOf(row)) % 8})`;
  const swatch = (row) => make("span", { class: "swatch", style: color(row) });

  function show(value, column) {
    if (value === undefined || value === null) return "–";
    const text = value.toFixed(column.digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  }
  function groupText(group) {
    return Object.entries(group).map(([key, value]) => `${key} ${value}`).join(", ");
  }
  // Relative to the page, whatever the name holds: no scheme, query or fragment gets through.
  const address = (path) => path.split(/[\\/]/).map(encodeURIComponent).join("/");

  function choice(label, options, onchange, value) {
    const select = make("select", {},
      ...options.map(([name, text]) => make("option", { value: name }, text)));
    if (value !== undefined) select.value = value;
    select.addEventListener("change", () => onchange(select.value));
    const field = make("label", {}, label, select);
    field.select = select;
    return field;
  }

  // ---------------------------------------------------------------- tables
  function sortable(table) {
    const body = table.querySelector("tbody.sortable");
    const heads = [...table.querySelectorAll("thead th")];
    const value = (line, index) => {
      const cell = line.children[index];
      if (index === 0) return cell.textContent;
      return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    };
    heads.forEach((head, index) => head.querySelector("button").addEventListener("click", () => {
      const first = index === 0 ? "ascending" : "descending";
      const other = index === 0 ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      body.append(...[...body.children].sort((one, two) => {
        const [x, y] = [value(one, index), value(two, index)];
        if (x === null || y === null) return (x === null) - (y === null); // missing ones last
        return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
      }));
    }));
  }
  for (const body of document.querySelectorAll("tbody.sortable")) sortable(body.closest("table"));
  for (const line of document.querySelectorAll("tr[data-row]")) {
    if (!rows.includes(line.dataset.row)) continue;
    line.setAttribute("style", color(line.dataset.row));
    line.firstElementChild.prepend(swatch(line.dataset.row));
  }

  // ---------------------------------------------------------------- plots
  // Round steps inside [low, high], about `wanted` of them.
  function ticks(low, high, wanted) {
    const raw = (high - low || Math.abs(high) || 1) / wanted;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
    return found;
  }
  // A little more than the values span, so that no mark is cut.
  function span(values) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const more = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
    return [low - more, high + more];
  }
  function tickText(value, all) {
    const step = all.length > 1 ? all[1] - all[0] : all[0];
    let digits = 0; // as many as tell the steps apart: 2.5 needs one more than its power
    while (digits < 9 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits++;
    return value.toFixed(digits).replace("-", "−");
  }
  const scaleOf = (from, to) => (value) =>
    to[0] + ((value - from[0]) / (from[1] - from[0] || 1)) * (to[1] - to[0]);

  function mark(shape, x, y) {
    const r = 4.5;
    const at = { class: "mark" };
    if (shape % 3 === 0) return draw("circle", { ...at, cx: x, cy: y, r });
    if (shape % 3 === 1) return draw("rect", { ...at, x: x - r, y: y - r, width: 2 * r, height: 2 * r });
    return draw("path", { ...at, d: `M${x},${y - r * 1.2}L${x + r * 1.2},${y + r}L${x - r * 1.2},${y + r}Z` });
  }

  function plots() {
    const place = document.getElementById("plots");
    if (!place) return;
    const measured = columns.filter((c) => entries.some((e) => e.values[c.name] !== undefined));
    if (!measured.length) { place.remove(); return; }
    const scales = keys.filter((key) => key.scale);
    const state = { column: measured[0].name, x: scales.length ? scales[0].key : null, step: "", group: {} };
    // Begin where there is a curve to see: some groups have no step of the scale.
    const first = entries.find((e) => state.x in e.group) ?? { group: {} };
    for (const key of keys) state.group[key.key] = first.group[key.key] ?? key.values[0];
    const curve = document.getElementById("curve"), strip = document.getElementById("strip");
    curve.hidden = !scales.length;
    strip.hidden = false;
    const column = () => columns.find((c) => c.name === state.column);
    const matches = (group, except) => Object.entries(state.group)
      .every(([key, value]) => key === except || group[key] === undefined || group[key] === value);

    const bar = document.getElementById("plot-controls");
    function controls() {
      bar.replaceChildren(choice("Column", measured.map((c) => [c.name, c.label]),
        (value) => { state.column = value; redraw(); }, state.column));
      if (scales.length > 1) {
        bar.append(choice("Along", scales.map((key) => [key.key, key.key]),
          (value) => { state.x = value; state.step = ""; controls(); redraw(); }, state.x));
      }
      for (const key of keys) {
        if (key.values.length < 2 || key.key === state.x) continue;
        bar.append(choice(key.key, key.values.map((v) => [v, v]),
          (value) => { state.group[key.key] = value; redraw(); }, state.group[key.key]));
      }
      const caption = strip.querySelector("figcaption");
      caption.replaceChildren(make("span", {}));
      const along = scales.find((key) => key.key === state.x);
      if (along) {
        caption.append(make("div", { class: "controls" }, choice(along.key,
          [["", "all"], ...along.values.map((v) => [v, v])],
          (value) => { state.step = value; redraw(); }, state.step)));
      }
    }
    document.getElementById("plot-key").append(
      ...rows.map((row) => make("li", {}, swatch(row), row)));

    // One canvas: its size follows the page, so that letters keep theirs.
    function canvas(figure, height, label) {
      const holder = figure.querySelector(".canvas");
      const width = Math.max(240, holder.clientWidth);
      const image = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
      image.style.height = `${height}px`;
      holder.replaceChildren(image);
      return [image, width];
    }

    function drawCurve() {
      const found = means.filter((m) => m.column === state.column && state.x in m.group
        && matches(m.group, state.x));
      const label = `${column().label} against ${state.x}, mean and 95 % interval`;
      curve.querySelector("figcaption").replaceChildren(label);
      const [image, width] = canvas(curve, 320, label);
      if (!found.length) { image.append(draw("text", { x: 10, y: 30 }, "No values.")); return; }
      const xs = [...new Set(found.map((m) => Number(m.group[state.x])))].sort((p, q) => p - q);
      const reach = span(found.flatMap((m) => [m.low, m.high]));
      const ys = ticks(...reach, 6);
      const left = 20 + 7.5 * Math.max(...ys.map((y) => tickText(y, ys).length));
      const pad = xs.length > 1 ? 14 : width / 2;
      const x = scaleOf([xs[0], xs[xs.length - 1]], [left + pad, width - 14]);
      const y = scaleOf(reach, [274, 10]);
      for (const tick of ys) {
        image.append(draw("line", { class: "grid", x1: left, x2: width, y1: y(tick), y2: y(tick) }));
        image.append(draw("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, tickText(tick, ys)));
      }
      for (const tick of xs) {
        image.append(draw("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 274, y2: 280 }));
        image.append(draw("text", { x: x(tick), y: 295, "text-anchor": "middle" }, String(tick)));
      }
      image.append(draw("text", { x: (left + width) / 2, y: 315, "text-anchor": "middle" }, state.x));
      const lines = rows.map((row) => found.filter((m) => m.row === row)
        .sort((p, q) => p.group[state.x] - q.group[state.x]));
      const at = (m) => x(Number(m.group[state.x]));
      lines.forEach((line, index) => {
        if (!line.length) return;
        const rim = [...line.map((m) => `${at(m)},${y(m.high)}`),
          ...[...line].reverse().map((m) => `${at(m)},${y(m.low)}`)];
        image.append(draw("polygon", { class: "band", style: color(rows[index]), points: rim.join(" ") }));
      });
      lines.forEach((line, index) => {
        const group = draw("g", { style: color(rows[index]) });
        const points = line.map((m) => `${at(m)},${y(m.mean)}`).join(" ");
        const dashes = ["", "7 4", "2 3"][Math.floor(index / 8) % 3];
        group.append(draw("polyline", { class: "curve", points, "stroke-dasharray": dashes || null }));
        for (const m of line) {
          const symbol = mark(index, at(m), y(m.mean));
          symbol.append(draw("title", {}, `${m.row}, ${groupText(m.group)}: ${show(m.mean, column())} `
            + `[${show(m.low, column())}, ${show(m.high, column())}], ${m.clips} clips`));
          group.append(symbol);
        }
        image.append(group);
      });
    }

    function drawStrip() {
      const label = `${column().label} of every clip`;
      strip.querySelector("figcaption span").replaceChildren(label);
      const found = entries.filter((e) => e.values[state.column] !== undefined
        && matches(e.group, state.x) && (!state.step || e.group[state.x] === state.step));
      const shown = rows.filter((row) => found.some((e) => e.row === row));
      const height = 50 * shown.length + 46;
      const [image, width] = canvas(strip, height, `${label}, a line of dots for each row`);
      const readout = strip.querySelector(".readout");
      readout.replaceChildren();
      if (!found.length) { image.append(draw("text", { x: 10, y: 30 }, "No values.")); return; }
      const values = found.map((e) => e.values[state.column]);
      const reach = span(values);
      const xs = ticks(...reach, Math.max(3, Math.floor(width / 90)));
      const x = scaleOf(reach, [4, width - 4]);
      for (const tick of xs) {
        image.append(draw("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 4, y2: height - 38 }));
        image.append(draw("text", { x: x(tick), y: height - 22, "text-anchor": "middle" }, tickText(tick, xs)));
      }
      image.append(draw("text", { x: width / 2, y: height - 4, "text-anchor": "middle" }, column().label));
      const scenes = [...new Set(found.map(sceneOf))];
      const dots = [];
      shown.forEach((row, index) => {
        const base = 50 * index + 35;
        const group = draw("g", { style: color(row) });
        const mine = found.filter((e) => e.row === row);
        for (const e of mine) {
          // Spread by the clip, the same way in every row.
          const wobble = ((scenes.indexOf(sceneOf(e)) * 0.618) % 1 - 0.5) * 16;
          const dot = { x: x(e.values[state.column]), y: base + wobble, entry: e };
          dots.push(dot);
          group.append(draw("circle", { class: "dot", cx: dot.x, cy: dot.y, r: 4 }));
        }
        const byClip = {};
        for (const e of mine) (byClip[`:${e.clip}`] ||= []).push(e.values[state.column]);
        const average = (list) => list.reduce((p, q) => p + q, 0) / list.length;
        const mean = x(average(Object.values(byClip).map(average)));
        group.append(draw("line", { class: "mean", x1: mean, x2: mean, y1: base - 11, y2: base + 11 }));
        image.append(group, draw("text", { class: "name", x: 2, y: base - 18 }, row));
      });
      let chosen = -1;
      const overlay = draw("g");
      image.append(overlay);
      const hint = "Point at a dot, or use the arrow keys, to follow a clip from row to row; "
        + "click or press Enter to watch it. The bar is the mean.";
      function choose(index) {
        chosen = index;
        overlay.replaceChildren();
        if (index < 0) { readout.replaceChildren(hint); return; }
        const mine = dots.filter((dot) => sceneOf(dot.entry) === scenes[index]);
        overlay.append(draw("polyline", { class: "link", points: mine.map((d) => `${d.x},${d.y}`).join(" ") }));
        for (const d of mine) {
          overlay.append(draw("circle", { class: "chosen", style: color(d.entry.row), cx: d.x, cy: d.y, r: 5.5 }));
        }
        const one = mine[0].entry, group = groupText(one.group);
        readout.replaceChildren(make("b", {}, one.clip), group ? ` (${group}): ` : ": ",
          mine.map((d) => `${d.entry.row} ${show(d.entry.values[state.column], column())}`).join(" · "));
      }
      const watch = () => {
        if (chosen >= 0) showClip(dots.find((d) => sceneOf(d.entry) === scenes[chosen]).entry);
      };
      const nearest = (event) => {
        const box = image.getBoundingClientRect();
        const [px, py] = [(event.clientX - box.left) * width / box.width, event.clientY - box.top];
        let best = null, least = 14;
        for (const dot of dots) {
          const away = Math.hypot(dot.x - px, dot.y - py);
          if (away < least) [best, least] = [dot, away];
        }
        return best ? scenes.indexOf(sceneOf(best.entry)) : -1;
      };
      image.addEventListener("pointermove", (event) => {
        const index = nearest(event);
        if (index >= 0 && index !== chosen) choose(index);
      });
      image.addEventListener("click", (event) => {
        const index = nearest(event);
        if (index >= 0) { choose(index); watch(); }
      });
      image.setAttribute("tabindex", "0");
      image.addEventListener("keydown", (event) => {
        const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (move) choose(chosen < 0 ? 0 : (chosen + move + scenes.length) % scenes.length);
        else if (event.key === "Enter") watch();
        else if (event.key === "Escape") choose(-1);
        else return;
        event.preventDefault();
      });
      choose(-1);
    }

    function redraw() {
      if (!curve.hidden) drawCurve();
      drawStrip();
    }
    controls();
    let drawn = 0;
    new ResizeObserver(() => {
      const width = place.clientWidth;
      if (width !== drawn) { drawn = width; redraw(); }
    }).observe(place);
  }

  // ---------------------------------------------------------------- clips
  // Entries of one clip and group belong together: one card.
  const sceneOf = (entry) => JSON.stringify([entry.clip, Object.entries(entry.group).sort()]);
  let showClip = () => {};

  // Plays several videos as one; the longest leads.
  function ensemble(videos, button, range, output) {
    let time = 0, playing = false;
    const length = () => Math.max(0, ...videos.map((v) => (isFinite(v.duration) ? v.duration : 0)));
    const leader = () => videos.reduce((p, q) => ((q.duration || 0) > (p.duration || 0) ? q : p));
    function tell() {
      range.max = length() || 1;
      range.value = time;
      output.value = `${time.toFixed(2)} / ${length().toFixed(2)} s`;
      range.setAttribute("aria-valuetext", `${time.toFixed(2)} seconds`);
      button.replaceChildren(playing ? "❚❚ Pause" : "▶ Play");
    }
    // A seek that is still going on is not interrupted; the next one starts when it is done.
    function seek(video) {
      if (video.readyState < 1 || video.seeking) return;
      const wanted = Math.min(time, Math.max(0, video.duration - 0.001));
      if (Math.abs(video.currentTime - wanted) > 0.001) video.currentTime = wanted;
    }
    function tick() {
      if (!playing) return;
      const first = leader();
      if (first.ended) { time = 0; videos.forEach(seek); videos.forEach(start); }
      time = first.currentTime;
      for (const video of videos) {
        if (video === first || video.ended || video.readyState < 2) continue;
        const late = time - video.currentTime;
        if (Math.abs(late) > 0.3 && !video.seeking && time < video.duration) video.currentTime = time;
        // Small differences are made up for by speed, since a seek would stutter.
        video.playbackRate = Math.abs(late) < 0.015 ? 1 : 1 + Math.max(-0.25, Math.min(0.25, 2 * late));
      }
      tell();
      requestAnimationFrame(tick);
    }
    const start = (video) => { video.play().catch(() => {}); };
    function play() {
      if (playing || !videos.length) return;
      playing = true;
      if (time >= length() - 0.05) time = 0;
      videos.forEach(seek);
      videos.forEach(start);
      requestAnimationFrame(tick);
      tell();
    }
    function pause() {
      if (!playing) return;
      playing = false;
      for (const video of videos) { video.pause(); video.playbackRate = 1; }
      videos.forEach(seek);
      tell();
    }
    const toggle = () => (playing ? pause() : play());
    button.addEventListener("click", toggle);
    range.addEventListener("input", () => {
      const wanted = Number(range.value);
      pause();
      time = wanted;
      videos.forEach(seek);
      tell();
    });
    for (const video of videos) {
      video.addEventListener("click", toggle);
      video.addEventListener("seeked", () => { if (!playing) seek(video); });
      video.addEventListener("loadedmetadata", () => {
        video.parentElement.style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
        seek(video);
        tell();
        if (playing) start(video);
      });
    }
    tell();
    return {
      load() {
        for (const video of videos) if (!video.src) video.src = video.dataset.src;
      },
      unload() { // browsers allow only so many open videos
        pause();
        for (const video of videos) { video.removeAttribute("src"); video.load(); }
      },
    };
  }

  function frame(key, path, videos) {
    const holder = make("div", { class: "frame" });
    const lost = () => holder.append(make("div", { class: "lost" }, `cannot be shown: ${path}`));
    if (/\.(png|jpe?g|webp|gif)$/i.test(path)) {
      const image = make("img", { loading: "lazy", alt: key, src: address(path) });
      image.addEventListener("error", lost);
      holder.append(image);
      return holder;
    }
    const video = make("video", { muted: true, playsinline: true, preload: "auto", "aria-label": key,
      "data-src": address(path) });
    video.muted = true;
    video.addEventListener("error", () => { if (video.src && !holder.querySelector(".lost")) lost(); });
    holder.append(video);
    videos.push(video);
    return holder;
  }

  function tile(key, path, videos, row = null) {
    const name = row === null ? [make("b", {}, key)]
      : [swatch(row), make("b", {}, row), key === "result" ? "" : ` ${key}`];
    return make("figure", { class: "tile" },
      frame(row === null ? key : `${row}, ${key}`, path, videos), make("figcaption", {}, ...name));
  }

  function valuesOf(entry, name) {
    const has = columns.filter((c) => entry.values[c.name] !== undefined);
    const main = has.find((c) => c.name === name);
    const rest = make("dl", {}, ...has.flatMap((c) => [
      make("dt", {}, c.label), make("dd", {}, show(entry.values[c.name], c))]));
    return make("div", { class: "values" },
      main ? make("div", {}, `${main.label} `, make("strong", {}, show(entry.values[name], main))) : null,
      has.length ? make("details", {}, make("summary", {}, "all values"), rest) : null);
  }

  function stackOf(entry, state, videos) {
    const parts = [];
    if (entry.error !== null) {
      parts.push(make("figure", { class: "tile" },
        make("div", { class: "failed" }, `failed: ${entry.error}`),
        make("figcaption", {}, swatch(entry.row), make("b", {}, entry.row))));
    }
    const order = ["result", "difference"];
    const own = Object.keys(entry.media).filter((key) => key !== "source" && key !== "truth")
      .sort((p, q) => (order.indexOf(p) + 9) % 9 - (order.indexOf(q) + 9) % 9);
    const tiles = own.filter((key) => key !== "difference" || state.differences)
      .map((key) => tile(key, entry.media[key], videos, entry.row));
    if (entry.error === null) {
      const values = valuesOf(entry, state.column);
      if (!tiles.length) values.prepend(swatch(entry.row), " ", make("b", {}, entry.row));
      tiles.splice(1, 0, values); // under the result, above its map
    }
    return make("div", { class: "stack" }, ...parts, ...tiles);
  }

  function card(scene, state, observer) {
    const videos = [];
    const shown = scene.entries.filter((e) => !state.row || e.row === state.row);
    const stacks = shown.map((entry) => stackOf(entry, state, videos));
    const shared = ["source", "truth"].flatMap((key) => {
      const owner = scene.entries.find((e) => e.media[key]);
      return owner ? [tile(key, owner.media[key], videos)] : [];
    });
    if (shared.length) stacks.unshift(make("div", { class: "stack" }, ...shared));
    const chips = Object.entries(scene.group).map(([key, value]) =>
      make("span", { class: "chip" }, `${key} ${value}`));
    const element = make("article", { class: "card", tabindex: -1, "aria-label": `${scene.clip} ${groupText(scene.group)}` },
      make("header", {}, make("h3", {}, scene.clip), ...chips));
    if (videos.length) {
      const button = make("button", { type: "button", class: "play" });
      const range = make("input", { type: "range", min: 0, max: 1, step: 0.02, value: 0,
        "aria-label": `Time in ${scene.clip}` });
      const output = make("output", {});
      element.append(make("div", { class: "bar" }, button, range, output));
      element.players = ensemble(videos, button, range, output);
      observer.observe(element);
    }
    element.append(make("div", { class: "stacks" }, ...stacks));
    return element;
  }

  function clips() {
    const place = document.getElementById("clips");
    if (!place) return;
    const scenes = new Map();
    for (const entry of entries) {
      const key = sceneOf(entry);
      if (!scenes.has(key)) scenes.set(key, { clip: entry.clip, group: entry.group, entries: [] });
      scenes.get(key).entries.push(entry);
    }
    const measured = columns.filter((c) => entries.some((e) => e.values[c.name] !== undefined));
    const state = { text: "", group: {}, row: "", order: "", differences: true, size: "210px",
      column: measured.length ? measured[0].name : "" };
    const holder = place.querySelector(".cards"), more = place.querySelector(".more");
    const count = place.querySelector(".count");
    const observer = new IntersectionObserver((changes) => {
      for (const { target, isIntersecting } of changes) {
        target.players[isIntersecting ? "load" : "unload"]();
      }
    }, { rootMargin: "400px" });
    let waiting = [];

    function wanted(scene) {
      return scene.clip.toLowerCase().includes(state.text.toLowerCase())
        && Object.entries(state.group).every(([key, value]) => !value || scene.group[key] === value)
        && (!state.row || scene.entries.some((e) => e.row === state.row));
    }
    // Larger is worse; what failed is worst of all.
    function badness(scene) {
      const mine = scene.entries.filter((e) => !state.row || e.row === state.row);
      if (mine.some((e) => e.error !== null)) return Infinity;
      const found = mine.map((e) => e.values[state.column]).filter((v) => v !== undefined);
      if (!found.length) return -Infinity;
      const mean = found.reduce((p, q) => p + q, 0) / found.length;
      return columns.find((c) => c.name === state.column).better === "higher" ? -mean : mean;
    }
    function add() {
      holder.append(...waiting.splice(0, PAGE).map((scene) => card(scene, state, observer)));
      more.hidden = !waiting.length;
    }
    function update() {
      for (const old of holder.children) {
        observer.unobserve(old);
        if (old.players) old.players.unload();
      }
      waiting = [...scenes.values()].filter(wanted);
      if (state.order) {
        const sign = state.order === "worst" ? -1 : 1;
        const rank = new Map(waiting.map((scene) => [scene, badness(scene)]));
        waiting.sort((p, q) => {
          const [x, y] = [rank.get(p), rank.get(q)];
          return x === y ? 0 : sign * (x < y ? -1 : 1);
        });
      }
      holder.replaceChildren();
      holder.style.setProperty("--tile", state.size);
      count.replaceChildren(`${waiting.length} of ${scenes.size} shown`);
      add();
    }
    const set = (name) => (value) => { state[name] = value; update(); };
    const form = document.getElementById("clip-controls");
    form.addEventListener("submit", (event) => event.preventDefault());
    const search = make("input", { type: "search", placeholder: "part of a name" });
    let typed = 0;
    search.addEventListener("input", () => {
      clearTimeout(typed);
      typed = setTimeout(() => set("text")(search.value), 150);
    });
    form.append(make("label", {}, "Clip", search));
    const selects = {};
    for (const key of keys) {
      if (key.values.length < 2) continue;
      const field = choice(key.key, [["", "all"], ...key.values.map((v) => [v, v])],
        (value) => { state.group[key.key] = value; update(); });
      selects[key.key] = field.select;
      form.append(field);
    }
    if (rows.length > 1) {
      form.append(choice("Method", [["", "all"], ...rows.map((row) => [row, row])], set("row")));
    }
    if (measured.length) {
      form.append(choice("Column", measured.map((c) => [c.name, c.label]), set("column")));
      form.append(choice("Order",
        [["", "as evaluated"], ["worst", "worst first"], ["best", "best first"]], set("order")));
    }
    form.append(choice("Size", [["150px", "small"], ["210px", "medium"], ["400px", "large"]],
      set("size"), state.size));
    if (entries.some((e) => e.media.difference)) {
      const box = make("input", { type: "checkbox" });
      box.checked = true;
      box.addEventListener("change", () => set("differences")(box.checked));
      form.append(make("label", { class: "check" }, box, "difference maps"));
    }
    more.addEventListener("click", () => {
      const first = holder.children.length;
      add();
      if (holder.children[first]) holder.children[first].focus({ preventScroll: true });
    });
    showClip = (entry) => {
      state.text = search.value = entry.clip;
      for (const [key, select] of Object.entries(selects)) {
        if (entry.group[key] === undefined) continue;
        state.group[key] = select.value = entry.group[key];
      }
      update();
      place.scrollIntoView();
      if (holder.firstChild) holder.firstChild.focus({ preventScroll: true });
    };
    update();
  }

  plots();
  clips();
  for (const section of document.querySelectorAll("main > section[id]")) {
    const title = section.querySelector("h2").textContent;
    document.querySelector("nav").append(make("a", { href: `#${section.id}` }, title));
  }
})();

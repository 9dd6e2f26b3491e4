// A figure that a reader moves. All pictures were decoded when the page was made and lie side by side in one image,
// the sprite; this script only chooses which of them to show. It needs nothing else: no library, no network, no kernel.
//
// `key` names the figure's place in the page (data-aecore="…"), `data` says what it shows, `css` how it looks.
function aecoreFigure(key, data, css) {
  "use strict";
  let made = 0; // controls so far; a name that a label points to holds inside its own shadow root only

  // The same figure may stand on a page twice, with two scripts: each place is taken once, by whichever comes first.
  for (const place of document.querySelectorAll(`[data-aecore="${key}"]:not([data-moves])`)) {
    place.dataset.moves = "";
    const sprite = new Image();
    sprite.onload = () => {
      const style = document.createElement("style");
      style.textContent = css;
      const figure = { code: codeFigure, slider: sliderFigure }[data.kind](sprite);
      // A shadow root takes the place of the still picture, and keeps the page's style sheets out.
      place.attachShadow({ mode: "open" }).append(style, figure);
      figure.style.setProperty("--smallest", `${Math.max(48, Math.min(150, data.width))}px`);
      figure.style.setProperty("--largest", `${Math.max(200, Math.min(320, 2 * data.width))}px`);
    };
    sprite.src = data.sprite;
  }

  // ---- the two figures ----

  // One or two code values: the picture that belongs to them, and where the codes of real images lie.
  function codeFigure(sprite) {
    const at = [...data.start];
    const picture = canvas();
    const status = statusLine();
    const sliders = data.axes.map((axis, d) => slider(axis.label, axis.values.length, at[d], (step) => move(d, step)));
    const plot = data.axes.length === 2 ? plane(moveTo) : classRows(moveTo);

    function moveTo(fractions) {
      fractions.forEach((fraction, d) => (at[d] = nearestStep(fraction, data.axes[d].values.length)));
      show();
    }
    function move(d, step) {
      at[d] = step;
      show();
    }
    function show() {
      const words = data.axes.map((axis, d) => number(axis.values[at[d]], axis.digits));
      sliders.forEach((one, d) => one.set(at[d], words[d]));
      plot.set(at.map((step, d) => step / (data.axes[d].values.length - 1)));
      draw(picture, sprite, at[0] + (at.length === 2 ? at[1] * data.axes[0].values.length : 0));
      const where = data.axes.map((axis, d) => `${axis.name} = ${words[d]}`).join(", ");
      describe(picture, `image decoded from the code ${where}`);
      status.value = closest();
    }
    // The classes overlap, so the mean codes would say less than the images whose codes are nearest.
    function closest() {
      if (data.classes.length < 2 || data.points.length < 1) return "";
      const here = data.axes.map((axis, d) => axis.values[at[d]]);
      const distance = (point) => Math.hypot(...here.map((value, d) => point[d] - value));
      const near = [...data.points].sort((a, b) => distance(a) - distance(b)).slice(0, 10);
      const counts = data.classes.map((_, c) => near.filter((point) => point[here.length] === c).length);
      const most = counts.indexOf(Math.max(...counts));
      const are = counts[most] === 1 ? "1 is" : `${counts[most]} are`;
      return `Of the ${near.length} marked images with the closest codes, ${are} of class “${data.classes[most].name}”.`;
    }

    const left = element("div", { className: "picture" }, element("div", { className: "name" }, "decoded image"), picture, status);
    const first = sliders[0].row;
    const boxed = data.axes.length === 2
      ? [plot.box, first, sliders[1].row]
      : [element("div", { className: "with-names" }, plot.names, plot.box, first)];
    const right = element("div", { className: "controls" }, ...boxed);
    show();
    return group(element("div", { className: "stage" }, left, right));
  }

  // Prepared pictures: a slider through their positions, menus, and the originals above where there are any.
  function sliderFigure(sprite) {
    const { rows, labels, menus, originals } = data;
    const count = data.names.length;
    const single = count === 1; // one picture in a row is shown large, and all positions in a strip below the slider
    const chosen = menus.map((menu) => menu.start);
    let at = data.start;

    const fixed = originals.map((index, i) => {
      const picture = canvas();
      draw(picture, sprite, index);
      return describe(picture, named("original", i));
    });
    const moving = data.views[0][0].map(() => canvas());
    const strips = single ? rows.map(() => canvas(labels.length)) : [];
    const frame = element("div", { className: "frame" });
    const status = statusLine();
    const choices = menus.map((menu, m) => select(menu.name, menu.options, chosen[m], (i) => { chosen[m] = i; show(); }));
    const one = slider(data.value_name, labels.length, at, move);

    function move(position) {
      at = position;
      show();
    }
    function show() {
      const combination = chosen.reduce((sum, choice, m) => sum * menus[m].options.length + choice, 0);
      const view = data.views[combination];
      const choice = menus.map((menu, m) => `${menu.name} ${menu.options[chosen[m]]}`);
      const where = [...choice, `${data.value_name}: ${labels[at]}`].join(", ");
      view[at].forEach((index, i) => {
        draw(moving[i], sprite, index);
        describe(moving[i], `${named(rows[Math.floor(i / count)], i % count)}, ${where}`);
      });
      strips.forEach((strip, r) => {
        view.forEach((position, p) => draw(strip, sprite, position[r], p));
        describe(strip, [`${rows[r]}, all positions of the slider`, ...choice].join(", "));
      });
      frame.style.width = `${100 / labels.length}%`;
      frame.style.left = `${(100 * at) / labels.length}%`;
      one.set(at, labels[at]);
      status.value = `${where}. ${data.notes[combination][at]}`.trim();
    }
    function named(row, i) {
      return single ? row : `${row} of ${data.names[i]}`;
    }

    show();
    const parts = [element("div", { className: "choices" }, ...choices), one.row];
    if (single) {
      const names = fixed.length ? ["original", ...rows] : rows;
      const large = [...fixed, ...moving].map((picture, i) => element("div", {}, element("div", { className: "name" }, names[i]), picture));
      const strip = element("div", { className: "strip" }, ...strips, frame);
      drag(strip, strip, ([x]) => move(Math.min(labels.length - 1, Math.max(0, Math.floor(x * labels.length)))));
      parts.splice(1, 0, side("large", large));
      parts.push(strip);
    } else {
      const columns = data.names.map((_, i) => element("div", {}, ...fixed.slice(i, i + 1), ...rows.map((_, r) => moving[r * count + i])));
      parts.push(ticks(labels), side("columns", columns));
    }
    return group(...parts, status);
  }

  // ---- what they are built from ----

  // The plane of two code values: a dot for each image, the name of each class at its mean.
  function plane(moveTo) {
    const dots = data.points.map(([x, y, c]) => spot("dot", fraction(x, 0), fraction(y, 1), { background: colour(c) }));
    const places = apart(data.classes.map((one) => [fraction(one.mean[0], 0), fraction(one.mean[1], 1)]));
    const means = data.classes.map((one, c) => {
      const label = spot("class", ...places[c], { borderColor: colour(c) });
      label.textContent = one.name;
      return label;
    });
    const mark = spot("mark", 0, 0, {});
    const area = element("div", { className: "area" }, ...dots, ...means, mark);
    const box = element("div", { className: "plot plane", "aria-hidden": "true" }, area);
    drag(box, area, moveTo);
    return { box, set: ([x, y]) => put(mark, x, y) };
  }

  // The places of names, moved apart where two would overlap; one that is alone stays.
  function apart(places, least = 0.065) {
    const moved = places.map((place) => [...place]);
    for (let round = 0; round < 30; round++) {
      moved.forEach((a, i) => moved.slice(i + 1).forEach((b) => {
        const [x, y] = [b[0] - a[0], b[1] - a[1]];
        const far = Math.hypot(x, y);
        const step = Math.max(0, least - far) / 2;
        const [dx, dy] = far > 0 ? [(step * x) / far, (step * y) / far] : [step, 0];
        [a[0], a[1], b[0], b[1]] = [a[0] - dx, a[1] - dy, b[0] + dx, b[1] + dy];
      }));
    }
    return moved;
  }

  // The line of one code value, once for each class: a stroke for each image.
  function classRows(moveTo) {
    const count = Math.max(1, data.classes.length);
    const strokes = data.points.map(([x, c]) => {
      const stroke = spot("dot", fraction(x, 0), 0, { background: colour(c) });
      stroke.style.top = `${(100 * (c + 0.21)) / count}%`;
      stroke.style.height = `${58 / count}%`;
      return stroke;
    });
    const mark = spot("mark", 0, 1, {});
    const area = element("div", { className: "area" }, ...strokes, mark);
    const box = element("div", { className: "plot rows", "aria-hidden": "true" }, area);
    box.style.height = `${Math.max(2, 1.15 * count)}em`;
    drag(box, area, ([x]) => moveTo([x]));
    const names = data.classes.map((one) => element("span", {}, one.name));
    return { box, names: element("div", { className: "names", "aria-hidden": "true" }, ...names), set: ([x]) => (mark.style.left = `${100 * x}%`) };
  }

  // A slider with its name and value in words. Its keys are the browser's own: arrows, Page up and down, Home, End.
  function slider(name, steps, start, changed) {
    const id = `slider-${++made}`;
    const input = element("input", { type: "range", id, min: 0, max: steps - 1, step: 1, value: start });
    // The slider says its value by itself; read out once more by the output it would only disturb.
    const value = element("output", { "aria-hidden": "true", "aria-live": "off" });
    const row = element("div", { className: "control" }, element("label", { htmlFor: id }, name), value, input);
    input.addEventListener("input", () => changed(Number(input.value)));
    const set = (step, words) => {
      input.value = step;
      input.setAttribute("aria-valuetext", words);
      value.value = words;
    };
    return { row, set };
  }

  // Pictures side by side, none of them larger than is good for few, in rows of one length: ten as 5 and 5, not 9 and 1.
  function side(className, parts) {
    const box = element("div", { className }, ...parts);
    box.style.maxWidth = `calc(${parts.length} * (var(--largest) + 1rem))`;
    new ResizeObserver(() => {
      box.style.gridTemplateColumns = ""; // as many in a row as fit, by the style sheet
      const fit = getComputedStyle(box).gridTemplateColumns.split(" ").length;
      const rows = Math.ceil(parts.length / fit);
      box.style.gridTemplateColumns = `repeat(${Math.ceil(parts.length / rows)}, 1fr)`;
    }).observe(box);
    return box;
  }

  // The positions below a slider: all of them where there is room, else the first and the last.
  function ticks(labels) {
    const all = labels.length <= 10 && labels.every((label) => label.length <= 4);
    const shown = all ? labels : [labels[0], labels[labels.length - 1]];
    const className = all ? "ticks" : "ticks ends";
    return element("div", { className, "aria-hidden": "true" }, ...shown.map((label) => element("span", {}, label)));
  }

  function select(name, words, start, changed) {
    const options = words.map((word, i) => element("option", { value: i, selected: i === start }, word));
    const id = `select-${++made}`;
    const box = element("select", { id }, ...options);
    box.addEventListener("change", () => changed(Number(box.value)));
    return element("div", {}, element("label", { htmlFor: id }, name), box);
  }

  // Call `moveTo` with the place of the pointer in `area`, as fractions from the left and from below.
  function drag(box, area, moveTo) {
    const follow = (event) => {
      const frame = area.getBoundingClientRect();
      moveTo([(event.clientX - frame.left) / frame.width, (frame.bottom - event.clientY) / frame.height]);
    };
    box.addEventListener("pointerdown", (event) => {
      box.setPointerCapture(event.pointerId);
      follow(event);
    });
    box.addEventListener("pointermove", (event) => box.hasPointerCapture(event.pointerId) && follow(event));
  }

  // ---- small tools ----

  function group(...parts) {
    const hint = element("p", { className: "hint" }, data.hint);
    return element("div", { className: "figure", role: "group", "aria-label": data.title }, hint, ...parts);
  }

  function element(tag, properties, ...children) {
    const one = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in one) one[name] = value;
      else one.setAttribute(name, value);
    }
    one.append(...children);
    return one;
  }

  function canvas(places = 1) {
    return element("canvas", { width: data.width * places, height: data.height, role: "img" });
  }

  function describe(picture, words) {
    picture.setAttribute("aria-label", words);
    return picture;
  }

  // What has changed, in words, which a screen reader speaks.
  function statusLine() {
    return element("output", { className: "status", "aria-live": "polite" });
  }

  // Draw picture number `index` of the sprite; `place` counts pictures from the left edge of the canvas.
  function draw(target, sprite, index, place = 0) {
    const [w, h] = [data.width, data.height];
    const [x, y] = [(index % data.columns) * w, Math.floor(index / data.columns) * h];
    target.getContext("2d").drawImage(sprite, x, y, w, h, place * w, 0, w, h);
  }

  function spot(name, x, y, style) {
    const one = element("span", { className: name });
    Object.assign(one.style, style);
    put(one, x, y);
    return one;
  }

  function put(one, x, y) {
    one.style.left = `${(100 * x).toFixed(2)}%`;
    one.style.top = `${(100 * (1 - y)).toFixed(2)}%`;
  }

  function fraction(value, d) {
    const values = data.axes[d].values;
    return (value - values[0]) / (values[values.length - 1] - values[0]);
  }

  function nearestStep(fraction, steps) {
    return Math.round(Math.min(1, Math.max(0, fraction)) * (steps - 1));
  }

  function number(value, digits) {
    return value.toFixed(digits).replace("-", "−");
  }

  // Colours that are told apart by most eyes; the name at each class says the same without them.
  function colour(c) {
    const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#aa4499", "#44aa99", "#b0a000"];
    return `color-mix(in srgb, ${colours[c % colours.length]} 85%, currentColor)`; // brighter in the dark
  }
}

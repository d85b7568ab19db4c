"use strict";
// Adds sorting, filtering and copying to a page that can be read without.
(() => {
  const table = document.getElementById("cells-by-config");
  const form = document.getElementById("filter");

  // Copying: the command stands right before its button.
  for (const button of document.querySelectorAll(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code); // so that the keyboard can copy it
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  // A link to a cell unfolds it, also where the browser does not do so by itself.
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const folded = target && target.closest("details");
    if (folded && !folded.open) {
      folded.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", unfold);
  unfold();

  // Sorting: within each layer, by one column; a third click restores the order of the run.
  const heads = [...table.tHead.rows[0].cells];
  for (const body of table.tBodies) {
    [...body.rows].forEach((row, i) => { row.dataset.place = i; });
  }
  const value = (row, column) => column === 0 ? row.cells[0].textContent : Number(row.cells[column].dataset.s);
  const sortBy = (column, direction) => {
    for (const body of table.tBodies) {
      const rows = [...body.rows].slice(1);
      rows.sort((a, b) => {
        if (!direction) return a.dataset.place - b.dataset.place;
        const [x, y] = [value(a, column), value(b, column)];
        return direction * (column === 0 ? x.localeCompare(y) : x - y);
      });
      body.append(...rows);
    }
    heads.forEach((head, i) => {
      if (i === column && direction) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { none: 1, ascending: -1, descending: 0 };
      sortBy(column, next[head.getAttribute("aria-sort") || "none"]);
    });
  });

  // Filtering: rows by name and by what happened, columns by name.
  const filter = () => {
    const scenario = form.elements.scenario.value.trim().toLowerCase();
    const config = form.elements.config.value.trim().toLowerCase();
    const kind = form.elements.kind.value;
    const shown = heads.map((head, i) => i === 0 || head.textContent.toLowerCase().includes(config));
    heads.forEach((head, i) => { head.hidden = !shown[i]; });
    let count = 0;
    for (const body of table.tBodies) {
      let any = false;
      for (const row of [...body.rows].slice(1)) {
        const cells = [...row.cells];
        cells.forEach((cell, i) => { cell.hidden = !shown[i]; });
        const fits = cells[0].textContent.toLowerCase().includes(scenario) &&
          (!kind || cells.some((cell, i) => shown[i] && cell.classList.contains("k-" + kind)));
        row.hidden = !fits;
        any ||= fits;
        count += fits;
      }
      body.rows[0].hidden = !any;
    }
    form.querySelector("output").textContent = `${count} rows, ${shown.filter(Boolean).length - 1} configs`;
  };
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
})();

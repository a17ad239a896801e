// Keeps the console's page up to date. The page shows its data without this script, too.
"use strict";

const connection = document.getElementById("connection");
const group = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

function show(figures) {
  for (const cell of document.querySelectorAll("[data-figure]")) {
    const text = group(figures[cell.dataset.figure]);
    if (cell.textContent !== text) cell.textContent = text;
  }
  document.getElementById("stuck").hidden = !figures.is_stuck;
  document.getElementById("none").hidden = figures.latest.length > 0;
  const rows = figures.latest.map((message) => {
    const row = document.createElement("tr");
    for (const name of ["offset", "time", "device", "topic", "source", "bytes"]) {
      row.insertCell().textContent = message[name];
    }
    return row;
  });
  document.getElementById("latest").replaceChildren(...rows);
}

const events = new EventSource("/live");
events.onopen = () => { connection.textContent = "live"; };
events.onerror = () => { connection.textContent = "connection lost, trying again"; };
events.onmessage = (event) => show(JSON.parse(event.data));


// Tables are shown once they can be used: to lay out thousands of rows twice takes as long as all the rest.
document.documentElement.classList.add("loading");
addEventListener("DOMContentLoaded", () => document.documentElement.classList.remove("loading"));

// What makes a page live. It is complete without this: every part that changes is made by the server alone.
import { forgetCommand } from "./commands.js";
import { copyButtons } from "./copying.js";
import { drawFigures, redrawFigures } from "./figures.js";
import { followExperiment } from "./live.js";
import { followLogs } from "./logs.js";
import { themeSwitch } from "./themes.js";

themeSwitch(redrawFigures);
forgetCommand();
copyButtons();
drawFigures();
followLogs();
followExperiment(redrawFigures);

// What `make lint` asks of the page's sources, besides the strict types of tsconfig.json.
import js from "@eslint/js";
import hooks from "eslint-plugin-react-hooks";
import typescript from "typescript-eslint";

export default typescript.config(
  { ignores: ["dist", "node_modules"] },
  js.configs.recommended,
  ...typescript.configs.strict,
  {
    files: ["src/**"],
    plugins: { "react-hooks": hooks },
    rules: {
      "no-undef": "off",
      "no-console": "error",
      eqeqeq: "error",
      "react-hooks/rules-of-hooks": "error",
      "react-hooks/exhaustive-deps": "error",
    },
  },
);

// OpenAPI at /docs, from the page's own files.
// @ts-expect-error the bundle ships no types
import SwaggerUI from "swagger-ui-dist/swagger-ui-bundle.js";

SwaggerUI({ url: "/openapi.json", dom_id: "#docs", validatorUrl: null, deepLinking: true });

std = "luajit"
max_line_length = 120
codes = true
include_files = { "**/*.lua", ".busted", ".luacheckrc" }
exclude_files = { ".build", "**/node_modules" }

files["spec"] = { std = "+busted" }
files["**/*_spec.lua"] = { std = "+busted" }
-- Users run it under whatever Lua their busted has.
files["lua/lcache/testing*"] = { std = "max" }

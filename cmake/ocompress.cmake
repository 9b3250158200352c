# Compressing ONNX models as a step of a build.
#
#   execute_process(COMMAND python3 -m ocompress cmake-dir OUTPUT_VARIABLE dir
#                   OUTPUT_STRIP_TRAILING_WHITESPACE)
#   list(APPEND CMAKE_MODULE_PATH "${dir}")
#   include(ocompress)
#
#   ocompress_optimize(
#     TARGET small INPUT net.onnx OUTPUT net-small.onnx PASSES "prune{sparsity=0.5},quant"
#     DATA calib.npz ARGS --max-drop 1% ALL)
#
# The output is made again when the model, the data, or another file that ocompress read changes. A
# failed budget fails the build and leaves no output.
#
# OCOMPRESS_COMMAND is how the program is called, a list: "ocompress" or "python3;-m;ocompress".

include_guard(GLOBAL)
cmake_minimum_required(VERSION 3.20)

if(NOT DEFINED OCOMPRESS_COMMAND) # a variable of the project stays
  set(OCOMPRESS_COMMAND "ocompress" CACHE STRING "How ocompress is called, a list")
endif()

# ocompress_optimize(
#   TARGET <name>             target that stands for the output
#   INPUT <file>              model; relative to the source folder
#   OUTPUT <file>             result; relative to the build folder
#   PASSES <text>             passes in order, or:
#   RECIPE <name or file>     a recipe
#   [DATA <data>]             as for --data; files are relative to the source folder
#   [EXTERNAL_DATA]           weights in OUTPUT.data, which is declared as an output, too
#   [ALL]                     whether the default target makes it
#   [DEPENDS <file>...]       other files and targets that must be made before
#   [ARGS <argument>...])     other options of `ocompress optimize`
function(ocompress_optimize)
  cmake_parse_arguments(PARSE_ARGV 0 arg "ALL;EXTERNAL_DATA" "TARGET;INPUT;OUTPUT;PASSES;RECIPE;DATA"
                        "ARGS;DEPENDS")
  foreach(name TARGET INPUT OUTPUT)
    if(NOT arg_${name})
      message(FATAL_ERROR "ocompress_optimize: ${name} is missing")
    endif()
  endforeach()
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "ocompress_optimize: unknown argument ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if((arg_PASSES AND arg_RECIPE) OR NOT (arg_PASSES OR arg_RECIPE))
    message(FATAL_ERROR "ocompress_optimize: give either PASSES or RECIPE")
  endif()

  get_filename_component(input "${arg_INPUT}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  get_filename_component(output "${arg_OUTPUT}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
  set(command ${OCOMPRESS_COMMAND} optimize "${input}" "${output}" --quiet --on-fail discard
              --depfile "${output}.d")
  set(needed "${input}" ${arg_DEPENDS})
  set(made "${output}")
  if(arg_PASSES)
    list(APPEND command --passes "${arg_PASSES}")
  else()
    list(APPEND command --recipe "${arg_RECIPE}")
  endif()
  if(arg_DATA)
    set(data "${arg_DATA}")
    if(NOT data MATCHES "^[A-Za-z_][A-Za-z_0-9.]*:[A-Za-z_]") # no module:function
      get_filename_component(data "${data}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
      if(NOT IS_DIRECTORY "${data}") # files in folders are in the list of dependencies
        list(APPEND needed "${data}")
      endif()
    endif()
    list(APPEND command --data "${data}")
  endif()
  if(arg_EXTERNAL_DATA)
    list(APPEND command --external-data)
    list(APPEND made "${output}.data")
  endif()

  add_custom_command(
    OUTPUT ${made}
    COMMAND ${command} ${arg_ARGS}
    DEPENDS ${needed}
    DEPFILE "${output}.d"
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    COMMENT "Compressing ${arg_INPUT}"
    VERBATIM)
  if(arg_ALL)
    add_custom_target(${arg_TARGET} ALL DEPENDS ${made})
  else()
    add_custom_target(${arg_TARGET} DEPENDS ${made})
  endif()
endfunction()
